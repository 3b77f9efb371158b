"""Memories put straight into the replica, for what reads it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.rows import as_json
from tests.builders import an_id

_PUT = text("""
    INSERT INTO memory_replica (event_id, tenant, role, session_id, persona_id, universe, namespace, payload,
                                wal_timestamp, version, body_digest)
    VALUES (:event_id, :tenant, :role, :session_id, :persona_id, :universe, :namespace, CAST(:payload AS jsonb),
            :wal_timestamp, 1, '')
""")
_DEFAULTS: dict[str, Any] = {
    "role": "user", "session_id": "s-1", "persona_id": None, "universe": "", "namespace": "wm", "wal_timestamp": 1000.0,
}  # fmt: skip
# One word in all, one in a third, one in a fiftieth, one in a single memory; tenants of 1 % to 50 %.
_CROWD = text("""
    INSERT INTO memory_replica (event_id, tenant, role, session_id, persona_id, universe, namespace, payload,
                                wal_timestamp, version, body_digest)
    SELECT 'crowd-' || n, 'tenant-' || CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n % 50 END,
           (ARRAY['user', 'assistant', 'tool', 'system'])[1 + n % 4], 's-' || n % (:rows / 50 + 1), 'p-' || n % 20,
           'u-' || n % 5, 'n-' || n % 3,
           jsonb_build_object('content', 'every memory ' || n || CASE WHEN n % 3 = 0 THEN ' third' ELSE '' END
               || CASE WHEN n % 50 = 1 THEN ' 50%' ELSE '' END || CASE WHEN n = 7 THEN ' unicorn' ELSE '' END
               || ' ' || md5(n::text) || repeat(' filler words of a talk', :fillers)),
           1700000000 + n, 1, ''
    FROM generate_series(1, :rows) n
""")


def put(engine: Engine, *contents: str, tenant: str = "", **fields: Any) -> tuple[str, Sequence[str]]:
    """Memories of a tenant of their own, each newer than the one before: the tenant and their event ids."""
    owner, ids = tenant or an_id("t-"), [an_id() for _ in contents]
    with engine.begin() as connection:
        for number, (event_id, content) in enumerate(zip(ids, contents, strict=True)):
            values = {**_DEFAULTS, "wal_timestamp": 1000.0 + number, **fields}
            payload = as_json({"id": event_id, "content": content})
            connection.execute(_PUT, {**values, "event_id": event_id, "tenant": owner, "payload": payload})
    return owner, ids


def crowd(connection: Connection, rows: int, fillers: int = 1) -> None:
    """So many memories of every kind, and statistics of them."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(_CROWD, {"rows": rows, "fillers": fillers})
    connection.execute(text("ANALYZE memory_replica"))

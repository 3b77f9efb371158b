"""Things said, put straight into conversations, for what reads them."""

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.rows import as_json
from tests.builders import an_id

_SESSION = text(
    "INSERT INTO sessions (session_id, tenant, subject) VALUES (:session_id, :tenant, 'ann') ON CONFLICT DO NOTHING"
)
_PUT = text("""
    INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, payload, created_at)
    VALUES (:session_id, :seq, :event_id, :tenant, :type, :role, CAST(:payload AS jsonb),
            CAST('2026-01-01' AS timestamptz) + make_interval(secs => :seq))
""")
_CROWD_SESSIONS = text("""
    INSERT INTO sessions (session_id, tenant, subject)
    SELECT 'crowd-' || n, 'tenant-' || CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n % 50 END, 'anonymous'
    FROM generate_series(0, :rows / 40) n
""")
# Of four events two were said: a message, a start, a thought, an answer. One word in all, one in a third, one in a
# fiftieth, one in a single one; tenants of 1 % to 50 %.
_CROWD = text("""
    INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, payload, created_at)
    SELECT 'crowd-' || session, n % 40 + 1, 'crowd-' || n,
           'tenant-' || CASE WHEN session % 2 = 0 THEN 0 ELSE 1 + session % 50 END,
           (ARRAY['user', 'assistant.started', 'assistant.thinking', 'assistant.final'])[1 + n % 4],
           CASE WHEN n % 4 = 0 THEN 'user' ELSE 'assistant' END,
           jsonb_build_object('message', CASE WHEN n % 4 IN (1, 2) THEN '' ELSE
               'every word ' || n || CASE WHEN n % 3 = 0 THEN ' third' ELSE '' END
               || CASE WHEN n % 52 = 0 THEN ' 50%' ELSE '' END || CASE WHEN n = 7 THEN ' unicorn' ELSE '' END
               || ' ' || md5(n::text) || ' filler words of a talk' END),
           CAST('2026-01-01' AS timestamptz) + make_interval(secs => n)
    FROM (SELECT n, n / 40 AS session FROM generate_series(0, :rows - 1) n) numbered
""")


def say(engine: Engine, *texts: str, tenant: str = "", kind: str = "user", role: str = "user") -> tuple[str, str]:
    """Texts of a tenant of their own in one session, each newer than the one before: the tenant and the session."""
    owner, session_id = tenant or an_id("t-"), an_id("s-")
    with engine.begin() as connection:
        connection.execute(_SESSION, {"session_id": session_id, "tenant": owner})
        for seq, said in enumerate(texts, 1):
            values = {"session_id": session_id, "seq": seq, "event_id": an_id(), "tenant": owner, "type": kind}
            connection.execute(_PUT, {**values, "role": role, "payload": as_json({"message": said})})
    return owner, session_id


def crowd(connection: Connection, rows: int) -> None:
    """So many events of every kind, and statistics of them."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(_CROWD_SESSIONS, {"rows": rows})
    connection.execute(_CROWD, {"rows": rows})
    connection.execute(text("ANALYZE session_events"))

"""Repair by owing again: a memory that a store lost, or has wrong, is decided about once more, under the next version.

So the row goes the way that every memory goes: to SomaBrain, into the log, into the replica. What is repeated there has
the same idempotency key; what differs at one version cannot be overwritten by that version, and is by the next.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json, memory_of_row, owe_forgetting, owe_records
from app.domain.memory import Place, WalRecord
from app.domain.proof import Finding, Kind, Store
from app.domain.proof_ports import Damage, Standing

_NEXT = text("""
    SELECT * FROM reconcile_findings WHERE job_id = :job_id AND event_id = (
        SELECT event_id FROM reconcile_findings WHERE job_id = :job_id AND fault AND repair IS NULL
        ORDER BY event_id LIMIT 1) AND fault AND repair IS NULL
    ORDER BY id LIMIT 100
""")
_OWED_PAYLOAD = text("SELECT payload FROM memory_write_outbox WHERE event_id = :event_id AND op = 'remember'")
_REPLICA_PAYLOAD = text("SELECT payload FROM memory_replica WHERE event_id = :event_id AND payload IS NOT NULL")
_LOCATORS = text("""
    SELECT store, locator FROM reconcile_seen
    WHERE event_id = :event_id AND locator <> '' AND NOT deleted ORDER BY store DESC
""")
_STANDING = text("""
    SELECT l.*, greatest(l.version, (SELECT max(s.version) FROM reconcile_seen s WHERE s.event_id = l.event_id),
                         (SELECT r.version FROM memory_replica r WHERE r.event_id = l.event_id)) AS highest
    FROM memory_ledger l WHERE l.event_id = :event_id
""")
_OWE = text("""
    WITH decided AS (
        UPDATE memory_ledger l SET version = :next
        WHERE l.event_id = :event_id AND l.version = :version AND l.forgotten_at IS NULL
          AND NOT EXISTS (SELECT 1 FROM memory_write_outbox o WHERE o.event_id = l.event_id AND o.state = 'pending')
        RETURNING *)
    INSERT INTO memory_write_outbox AS o (event_id, op, tenant, namespace, universe, session_id, persona_id, role,
                                          payload, idempotency_key, version, run_at)
    SELECT event_id, 'remember', tenant, namespace, universe, session_id, persona_id, role, CAST(:payload AS jsonb),
           coalesce(nullif(idempotency_key, ''), event_id), version, now() + make_interval(secs => :delay)
    FROM decided
    ON CONFLICT (event_id) DO UPDATE
    SET op = 'remember', tenant = excluded.tenant, namespace = excluded.namespace, universe = excluded.universe,
        session_id = excluded.session_id, persona_id = excluded.persona_id, role = excluded.role,
        payload = excluded.payload, idempotency_key = excluded.idempotency_key, version = excluded.version,
        state = 'pending', finished_at = NULL, run_at = excluded.run_at, lease_owner = NULL, lease_until = NULL,
        attempts = o.attempts + 1, excused = o.attempts + 1, failures = 0, outage = false, last_error = NULL
""")
_FORGET = text("""
    UPDATE memory_ledger SET version = :next
    WHERE event_id = :event_id AND version = :version AND forgotten_at IS NOT NULL RETURNING event_id
""")
_HOLD = text("""
    UPDATE memory_write_outbox SET run_at = now() + make_interval(secs => :seconds)
    WHERE event_id = :event_id AND op = 'remember' AND state = 'pending' AND lease_owner IS NULL
""")


class SqlProofRepair:
    """`ProofRepair` on Postgres."""

    def __init__(self, engine: Engine, wal_topic: str, call_seconds: float) -> None:
        self._engine = engine
        self._wal_topic = wal_topic
        self._call_seconds = call_seconds

    def next_damage(self, job_id: str) -> Damage | None:
        """In the order of ids, so that a repair that broke off is met again."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_NEXT, {"job_id": job_id}).mappings().all()
        if not rows:
            return None
        return Damage(rows[0]["event_id"], tuple(map(_finding, rows)), tuple(row["id"] for row in rows))

    def payloads(self, event_id: str) -> Iterator[Mapping[str, Any]]:
        """The owed row's first: it was never anywhere else."""
        for statement in (_OWED_PAYLOAD, _REPLICA_PAYLOAD):
            with transaction(self._engine) as connection:
                payload = connection.execute(statement, {"event_id": event_id}).scalar_one_or_none()
            if payload is not None:
                yield payload

    def locators(self, event_id: str) -> list[tuple[str, str]]:
        """The log's before SomaBrain's."""
        with transaction(self._engine) as connection:
            return [(row.store, row.locator) for row in connection.execute(_LOCATORS, {"event_id": event_id})]

    def standing(self, event_id: str) -> Standing | None:
        """Its line in the ledger, now."""
        with transaction(self._engine) as connection:
            row = connection.execute(_STANDING, {"event_id": event_id}).mappings().one_or_none()
        if row is None:
            return None
        digest = None if row["digest"] is None else bytes(row["digest"])
        return Standing(memory_of_row(row), digest, row["forgotten_at"] is not None, row["highest"])

    def owe(self, standing: Standing, payload: Mapping[str, Any], delay_seconds: float) -> bool:
        """Decide once more, owe the row; both or neither."""
        told = {"payload": as_json(dict(payload)), "delay": delay_seconds}
        with transaction(self._engine) as connection:
            return bool(connection.execute(_OWE, {**_versions(standing), **told}).rowcount)

    def owe_forgetting(self, standing: Standing) -> bool:
        """Decide once more, owe SomaBrain the forgetting and the log its record."""
        memory = replace(standing.memory, version=standing.version + 1)
        with transaction(self._engine) as connection:
            if connection.execute(_FORGET, _versions(standing)).first() is None:
                return False
            owe_forgetting(connection, memory, self._wal_topic, self._call_seconds)
        return True

    def owe_record(self, record: WalRecord) -> None:
        """One that is owed already stays as it is."""
        with transaction(self._engine) as connection:
            owe_records(connection, [record])

    def hold(self, event_id: str, seconds: float) -> bool:
        """Put its due time off."""
        with transaction(self._engine) as connection:
            return bool(connection.execute(_HOLD, {"event_id": event_id, "seconds": seconds}).rowcount)


def _versions(standing: Standing) -> dict[str, Any]:
    memory = standing.memory
    return {"event_id": memory.event_id, "version": memory.version, "next": standing.version + 1}


def _finding(row: RowMapping) -> Finding:
    return Finding(
        event_id=row["event_id"],
        store=Store(row["store"]),
        kind=Kind(row["kind"]),
        words=row["words"],
        at=Place(row["at_tenant"], row["namespace"], row["universe"]),
        tenant=row["tenant"],
        version=row["version"],
        digest=None if row["digest"] is None else bytes(row["digest"]),
        fault=row["fault"],
        copy_of=row["copy_of"],
    )

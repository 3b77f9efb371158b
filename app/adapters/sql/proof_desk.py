"""The proof that is under way: who has it in hand, how far it is, and what its steps have brought."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.claims import Claims
from app.adapters.sql.engine import transaction
from app.adapters.sql.presence import Holder
from app.adapters.sql.rows import as_json
from app.adapters.sql.work_kinds import PROOFS
from app.domain.errors import LeaseLost
from app.domain.leases import MAX_ATTEMPTS
from app.domain.proof import Copy, Finding, Store
from app.domain.proof_ports import Damage, Gain, ProofJob, ProofWish

_KEEP = text("""
    UPDATE reconcile_jobs
    SET stage = :stage, place = CAST(:place AS jsonb), notes = CAST(:notes AS jsonb), done = :done, total = :total
    WHERE job_id = :job_id AND state = 'running' AND lease_owner = :owner AND attempts = :attempts
""")
_EMPTY_SEEN = text("TRUNCATE reconcile_seen")
_EMPTY_TALLIES = text("DELETE FROM reconcile_tallies WHERE job_id = :job_id")
# Of a proof that begins anew: as many at a time as surely come to an end.
_EMPTY_FINDINGS = text("""
    DELETE FROM reconcile_findings WHERE id IN (
        SELECT id FROM reconcile_findings WHERE job_id = :job_id LIMIT 5000)
""")
_MARK = text("""
    INSERT INTO reconcile_seen (event_id, store, spot, tenant, namespace, universe, deleted, contradicted, locator)
    VALUES ('', 'mark', :job_id, '', '', '', false, false, '')
""")
_MARKED = text("SELECT EXISTS (SELECT 1 FROM reconcile_seen WHERE event_id = '' AND store = 'mark' AND spot = :job_id)")
# From here on, whatever moves is on its way; what had come to its end before has to be found.
_BEGIN = text("""
    UPDATE reconcile_jobs SET began_at = clock_timestamp() WHERE job_id = :job_id
    RETURNING began_at, (SELECT coalesce(jsonb_object_agg(partition, next_offset), '{}') FROM replicator_offsets
                         WHERE topic = :topic) AS replicated
""")
_OFFERED = """json_to_recordset(CAST(:copies AS json))
    AS new (event_id text, store text, spot text, tenant text, namespace text, universe text, digest text,
            version bigint, deleted boolean, session_id text, role text, idempotency_key text, universe_inside text,
            named text, contradicted boolean, locator text)"""
"""Copies as a table; `_row_of` says one of them."""
_COLUMNS = ("tenant", "namespace", "universe", "digest", "version", "deleted", "session_id", "role", "idempotency_key",
            "universe_inside", "named", "contradicted", "locator")  # fmt: skip
_LAY_DOWN = text(f"""
    INSERT INTO reconcile_seen AS seen (event_id, store, spot, {", ".join(_COLUMNS)})
    SELECT event_id, store, spot, tenant, namespace, universe, decode(digest, 'hex'), version, deleted, session_id,
           role, idempotency_key, universe_inside, named, contradicted, locator
    FROM {_OFFERED}
    ON CONFLICT (event_id, store, spot) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
    WHERE excluded.version > seen.version OR seen.version IS NULL
""")  # noqa: S608 - the only insertions are the constants above
_CONTRADICT = text(f"""
    UPDATE reconcile_seen seen SET contradicted = true FROM {_OFFERED}
    WHERE seen.event_id = new.event_id AND seen.store = 'wal' AND new.store = 'wal' AND seen.version = new.version
      AND (seen.tenant, seen.namespace, seen.universe, seen.digest, seen.deleted, seen.session_id, seen.role,
           seen.idempotency_key, seen.named)
          IS DISTINCT FROM (new.tenant, new.namespace, new.universe, decode(new.digest, 'hex'), new.deleted,
                            new.session_id, new.role, new.idempotency_key, new.named)
""")  # noqa: S608
_FIND = text("""
    INSERT INTO reconcile_findings (job_id, tenant, event_id, store, kind, words, at_tenant, namespace, universe,
                                    version, digest, fault, copy_of)
    SELECT :job_id, tenant, event_id, store, kind, words, at_tenant, namespace, universe, version,
           decode(digest, 'hex'), fault, copy_of
    FROM json_to_recordset(CAST(:findings AS json))
         AS finding (tenant text, event_id text, store text, kind text, words text, at_tenant text, namespace text,
                     universe text, version bigint, digest text, fault boolean, copy_of text)
""")
_TALLY = text("""
    INSERT INTO reconcile_tallies AS t (job_id, tenant, checked, in_flight)
    SELECT :job_id, tenant, checked, in_flight
    FROM json_to_recordset(CAST(:tallies AS json)) AS tally (tenant text, checked bigint, in_flight bigint)
    ON CONFLICT (job_id, tenant)
    DO UPDATE SET checked = t.checked + excluded.checked, in_flight = t.in_flight + excluded.in_flight
""")
_SETTLE = text("UPDATE reconcile_findings SET repair = :words WHERE id = ANY(CAST(:ids AS bigint[]))")
_DUE_NOW = text("""
    UPDATE memory_write_outbox SET run_at = now()
    WHERE event_id = :event_id AND op = 'remember' AND state = 'pending' AND lease_owner IS NULL AND failures = 0
""")


class SqlProofDesk(Claims):
    """`ProofDesk` on Postgres."""

    worn_out = ("failed", f"workers died {MAX_ATTEMPTS} times over it")

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float, wal_topic: str) -> None:
        super().__init__(engine, PROOFS, presence, lease_seconds)
        self._wal_topic = wal_topic

    def claim(self, job_id: str) -> ProofJob | None:
        """This job, leased; one over which too many workers died has failed."""
        return next(map(self._job, self._claim(1, [job_id])), None)

    def _job(self, row: RowMapping) -> ProofJob:
        return ProofJob(
            job_id=row["job_id"],
            wish=ProofWish(row["tenant"], row["repair"]),
            lease=self._leases.lease_of(row),
            stage=row["stage"],
            place=row["place"],
            began_at=row["began_at"],
            notes=tuple(row["notes"]),
            done=row["done"],
            total=row["total"],
        )

    def release(self, job: ProofJob) -> None:
        """Give it back, due now."""
        self._end([job.lease], lambda connection: self._leases.release(connection, [job.lease]))

    def postpone(self, job: ProofJob, seconds: float, reason: str) -> None:
        """Give it back, due after `seconds`."""
        self._end([job.lease], lambda one: self._leases.postpone(one, [job.lease], seconds, reason, outage=True))

    def finish(self, job: ProofJob) -> None:
        """Completed; what was laid down goes."""
        self._end([job.lease], lambda connection: self._finished(connection, job))

    def _finished(self, connection: Connection, job: ProofJob) -> set[str]:
        ours = self._leases.settle(connection, [job.lease], "completed")
        if ours:
            connection.execute(_EMPTY_SEEN)
        return ours

    def survived(self, job: ProofJob) -> None:
        """The heartbeat says so."""
        self._live_on([job.lease])

    def begin(self, job: ProofJob) -> ProofJob:
        """Empty everything, mark it as this job's, note where the replica stands."""
        while self._empties_findings(job):
            pass
        with transaction(self._engine) as connection:
            self._keep(connection, job)
            connection.execute(_EMPTY_SEEN)
            connection.execute(_EMPTY_TALLIES, {"job_id": job.job_id})
            connection.execute(_MARK, {"job_id": job.job_id})
            row = connection.execute(_BEGIN, {"job_id": job.job_id, "topic": self._wal_topic}).one()
        return replace(job, place={"replicated": row.replicated}, began_at=row.began_at, notes=())

    def _empties_findings(self, job: ProofJob) -> bool:
        with transaction(self._engine) as connection:
            self._keep(connection, job)
            return bool(connection.execute(_EMPTY_FINDINGS, {"job_id": job.job_id}).rowcount)

    def is_intact(self, job: ProofJob) -> bool:
        """Whether the mark is there: a crash of Postgres empties what is not logged."""
        with transaction(self._engine) as connection:
            return bool(connection.execute(_MARKED, {"job_id": job.job_id}).scalar_one())

    def keep(self, job: ProofJob, gain: Gain) -> None:
        """Place and gain, together or not at all."""
        with transaction(self._engine) as connection:
            self._keep(connection, job)
            _lay_down(connection, gain.copies)
            _find(connection, job.job_id, gain.findings)
            _tally(connection, job.job_id, gain)

    def settle(self, job: ProofJob, damage: Damage, words: str) -> None:
        """Note what became of it, and let go of the memory."""
        with transaction(self._engine) as connection:
            self._keep(connection, job)
            connection.execute(_SETTLE, {"words": words, "ids": list(damage.ids)})
            connection.execute(_DUE_NOW, {"event_id": damage.event_id})

    def _keep(self, connection: Connection, job: ProofJob) -> None:
        told = {"stage": job.stage, "place": as_json(dict(job.place)), "notes": as_json(list(job.notes))}
        held = {"owner": job.lease.owner, "attempts": job.lease.attempts}
        counts = {"job_id": job.job_id, "done": job.done, "total": job.total}
        if not connection.execute(_KEEP, {**told, **held, **counts}).rowcount:
            raise LeaseLost("another worker has this proof now")


def _lay_down(connection: Connection, copies: Sequence[Copy]) -> None:
    if copies:
        offered = {"copies": as_json([_row_of(copy) for copy in copies])}
        connection.execute(_LAY_DOWN, offered)
        connection.execute(_CONTRADICT, offered)


def _row_of(copy: Copy) -> dict[str, Any]:
    return {
        "event_id": copy.event_id,
        "store": copy.store.value,
        "spot": _spot(copy),
        "tenant": copy.place.tenant,
        "namespace": copy.place.namespace,
        "universe": copy.place.universe,
        "digest": _hex(copy.digest),
        "version": copy.version,
        "deleted": copy.deleted,
        "session_id": copy.session_id,
        "role": copy.role,
        "idempotency_key": copy.idempotency_key,
        "universe_inside": copy.universe_inside,
        "named": copy.named,
        "contradicted": copy.contradicted,
        "locator": copy.locator,
    }


def _hex(digest: bytes | None) -> str | None:
    return digest.hex() if digest is not None else None


def _spot(copy: Copy) -> str:
    """SomaBrain may hold one id in several places; log and replica have one line for each id."""
    place = copy.place
    return f"{place.tenant}\n{place.namespace}\n{place.universe}" if copy.store is Store.BRAIN else ""


def _find(connection: Connection, job_id: str, findings: Sequence[Finding]) -> None:
    rows = [
        {"tenant": each.tenant, "event_id": each.event_id, "store": each.store.value, "kind": each.kind.value,
         "words": each.words, "at_tenant": each.at.tenant, "namespace": each.at.namespace,
         "universe": each.at.universe, "version": each.version, "digest": _hex(each.digest), "fault": each.fault,
         "copy_of": each.copy_of}
        for each in findings
    ]  # fmt: skip
    if rows:
        connection.execute(_FIND, {"job_id": job_id, "findings": as_json(rows)})


def _tally(connection: Connection, job_id: str, gain: Gain) -> None:
    tallies = [
        {"tenant": tenant, "checked": checked, "in_flight": gain.in_flight.get(tenant, 0)}
        for tenant, checked in sorted(gain.checked.items())
    ]
    if tallies:
        connection.execute(_TALLY, {"job_id": job_id, "tallies": as_json(tallies)})

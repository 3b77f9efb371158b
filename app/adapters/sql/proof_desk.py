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
_OFFERED = """unnest(CAST(:event_ids AS text[]), CAST(:stores AS text[]), CAST(:spots AS text[]),
        CAST(:tenants AS text[]), CAST(:namespaces AS text[]), CAST(:universes AS text[]), CAST(:digests AS text[]),
        CAST(:versions AS bigint[]), CAST(:deletes AS boolean[]), CAST(:sessions AS text[]), CAST(:roles AS text[]),
        CAST(:keys AS text[]), CAST(:insides AS text[]), CAST(:names AS text[]), CAST(:contradictions AS boolean[]),
        CAST(:locators AS text[]))
    AS new (event_id, store, spot, tenant, namespace, universe, digest, version, deleted, session_id, role,
            idempotency_key, universe_inside, named, contradicted, locator)"""
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
    VALUES (:job_id, :tenant, :event_id, :store, :kind, :words, :at_tenant, :namespace, :universe, :version, :digest,
            :fault, :copy_of)
""")
_TALLY = text("""
    INSERT INTO reconcile_tallies AS t (job_id, tenant, checked, in_flight)
    VALUES (:job_id, :tenant, :checked, :in_flight)
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

    def claim(self) -> ProofJob | None:
        """The job, leased; one over which too many workers died has failed."""
        return next(map(self._job, self._claim(1)), None)

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
        columns = _copy_columns(copies)
        connection.execute(_LAY_DOWN, columns)
        connection.execute(_CONTRADICT, columns)


def _copy_columns(copies: Sequence[Copy]) -> dict[str, list[Any]]:
    return {
        "event_ids": [copy.event_id for copy in copies],
        "stores": [copy.store.value for copy in copies],
        "spots": [_spot(copy) for copy in copies],
        "tenants": [copy.place.tenant for copy in copies],
        "namespaces": [copy.place.namespace for copy in copies],
        "universes": [copy.place.universe for copy in copies],
        "digests": [copy.digest.hex() if copy.digest is not None else None for copy in copies],
        "versions": [copy.version for copy in copies],
        "deletes": [copy.deleted for copy in copies],
        "sessions": [copy.session_id for copy in copies],
        "roles": [copy.role for copy in copies],
        "keys": [copy.idempotency_key for copy in copies],
        "insides": [copy.universe_inside for copy in copies],
        "names": [copy.named for copy in copies],
        "contradictions": [copy.contradicted for copy in copies],
        "locators": [copy.locator for copy in copies],
    }


def _spot(copy: Copy) -> str:
    """SomaBrain may hold one id in several places; log and replica have one line for each id."""
    place = copy.place
    return f"{place.tenant}\n{place.namespace}\n{place.universe}" if copy.store is Store.BRAIN else ""


def _find(connection: Connection, job_id: str, findings: Sequence[Finding]) -> None:
    rows = [
        {"job_id": job_id, "tenant": each.tenant, "event_id": each.event_id, "store": each.store.value,
         "kind": each.kind.value, "words": each.words, "at_tenant": each.at.tenant, "namespace": each.at.namespace,
         "universe": each.at.universe, "version": each.version, "digest": each.digest, "fault": each.fault,
         "copy_of": each.copy_of}
        for each in findings
    ]  # fmt: skip
    if rows:
        connection.execute(_FIND, rows)


def _tally(connection: Connection, job_id: str, gain: Gain) -> None:
    for tenant in sorted(gain.checked):
        counts = {"checked": gain.checked[tenant], "in_flight": gain.in_flight.get(tenant, 0)}
        connection.execute(_TALLY, {"job_id": job_id, "tenant": tenant, **counts})

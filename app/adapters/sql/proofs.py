"""Proofs as people ask for them and read them."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.domain.errors import Conflict
from app.domain.proof_ports import ProofReport, ProofWish, TenantProof

_EXAMPLES = 20
_ASK = text("""
    INSERT INTO reconcile_jobs (job_id, tenant, repair) VALUES (:job_id, :tenant, :repair)
    ON CONFLICT ((true)) WHERE state IN ('queued', 'running') DO NOTHING RETURNING job_id
""")
_UNDER_WAY = text("""
    SELECT job_id, tenant, repair FROM reconcile_jobs WHERE state IN ('queued', 'running')
""")
_JOB = text("SELECT * FROM reconcile_jobs WHERE job_id = :job_id")
_TALLIES = text("SELECT tenant, checked, in_flight FROM reconcile_tallies WHERE job_id = :job_id ORDER BY tenant")
_COUNTS = text("""
    SELECT tenant, kind, store, count(*) AS found, count(*) FILTER (WHERE fault) AS faults,
           count(*) FILTER (WHERE repair IN ('owed again', 'the forgetting is owed again', 'taken away')) AS repaired
    FROM reconcile_findings WHERE job_id = :job_id GROUP BY tenant, kind, store
""")
_SHOWN = text("""
    SELECT told.* FROM (SELECT DISTINCT tenant FROM reconcile_findings WHERE job_id = :job_id) one
    CROSS JOIN LATERAL (
        SELECT tenant, event_id, store, kind, words, repair FROM reconcile_findings f
        WHERE f.job_id = :job_id AND f.tenant = one.tenant ORDER BY id LIMIT :most) told
""")


class SqlProofs:
    """`Proofs` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, wish: ProofWish) -> str:
        """One at a time."""
        with transaction(self._engine) as connection:
            asked = {"job_id": str(uuid.uuid4()), "tenant": wish.tenant, "repair": wish.repair}
            job_id: str | None = connection.execute(_ASK, asked).scalar_one_or_none()
            return job_id or _under_way(connection, wish)

    def report(self, job_id: str) -> ProofReport | None:
        """Counted in the database; of each tenant some examples."""
        with transaction(self._engine) as connection:
            job = connection.execute(_JOB, {"job_id": job_id}).mappings().one_or_none()
            return None if job is None else _report(connection, job)


def _under_way(connection: Connection, wish: ProofWish) -> str:
    row = connection.execute(_UNDER_WAY).mappings().one_or_none()
    if row is not None and ProofWish(row["tenant"], row["repair"]) == wish:
        return str(row["job_id"])
    raise Conflict("another proof is under way; ask again when it is done")


def _report(connection: Connection, job: RowMapping) -> ProofReport:
    one = {"job_id": job["job_id"]}
    tallies = {row["tenant"]: row for row in connection.execute(_TALLIES, one).mappings()}
    counts = connection.execute(_COUNTS, one).mappings().all()
    shown = connection.execute(_SHOWN, {**one, "most": _EXAMPLES}).mappings().all()
    names = sorted({*tallies, *(row["tenant"] for row in counts)})
    return ProofReport(
        job_id=job["job_id"],
        status=job["state"],
        stage=job["stage"],
        done=job["done"],
        total=job["total"],
        notes=tuple(job["notes"]),
        error=job["last_error"],
        tenants={name: _tenant(tallies.get(name), _of(counts, name), _of(shown, name)) for name in names},
    )


def _of(rows: Sequence[RowMapping], tenant: str) -> list[RowMapping]:
    return [row for row in rows if row["tenant"] == tenant]


def _tenant(tally: RowMapping | None, counts: Sequence[RowMapping], shown: Sequence[RowMapping]) -> TenantProof:
    return TenantProof(
        checked=tally["checked"] if tally else 0,
        in_flight=tally["in_flight"] if tally else 0,
        counts={(row["kind"], row["store"]): row["found"] for row in counts},
        faults=sum(row["faults"] for row in counts),
        repaired=sum(row["repaired"] for row in counts),
        examples=[_example(row) for row in shown],
    )


def _example(row: RowMapping) -> dict[str, Any]:
    told = {name: row[name] for name in ("event_id", "store", "kind", "words")}
    return {**told, "repair": row["repair"]} if row["repair"] else told

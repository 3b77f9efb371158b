"""Is anything missing? Asked by administrators, answered by a worker, read here."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.domain.errors import NotFound
from app.domain.proof import Kind, Store
from app.domain.proof_ports import ProofReport, ProofWish, TenantProof
from app.gateway.api import Answer, Area
from app.gateway.room import room
from app.routing import TaskName
from app.services.message_form import MAX_NAME_LENGTH

proofs = Area("proofs")
_RECONCILE = "/v1/admin/memory/reconcile"


class ReconcileBody(BaseModel):
    """What to prove: one tenant's memories or all; with `repair` what is missing or wrong is offered again."""

    model_config = ConfigDict(title="Reconcile", extra="forbid", strict=True, frozen=True)

    repair: bool = False
    tenant: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None


class ReconcileBegun(Answer):
    """The job that answers; the same one for the same wish while it is under way."""

    job_id: str


class Stores(Answer):
    """How many, in which store."""

    brain: int
    wal: int
    replica: int


class Progress(Answer):
    """How far it is; `total` is null where nobody can know."""

    stage: str
    done: int
    total: int | None


class TenantAnswer(Answer):
    """One tenant: accepted memories that were checked, what is wrong where, and some examples. `extra` are also
    records of other programs, which are nobody's fault; their examples say so.
    """

    checked: int
    missing: Stores
    extra: Stores
    differing: Stores
    in_flight: int
    repaired: int
    examples: list[dict[str, Any]]


class ReconcileAnswer(Answer):
    """A proof; `clean` when it is completed and found no fault, `notes` say what it could not look at."""

    id: str
    status: str
    progress: Progress
    tenants: dict[str, TenantAnswer]
    clean: bool
    notes: list[str]
    error: str | None


@proofs.route(
    "POST",
    _RECONCILE,
    "Compare every accepted memory with SomaBrain, the log and the replica",
    body=ReconcileBody,
    body_optional=True,
    answer=ReconcileBegun,
    statuses=(202,),
    errors=(400, 409, 413, 415, 422, 503),
)
def post_reconcile(body: ReconcileBody) -> ReconcileBegun:
    """Keep the wish, ring, answer."""
    serving = room().serving
    job_id = serving.proofs.ask(ProofWish(body.tenant, body.repair))
    serving.doorbell.ring(TaskName.RECONCILE, job_id)
    return ReconcileBegun(job_id=job_id)


@proofs.route("GET", f"{_RECONCILE}/<job_id>", "A proof and how far it is", answer=ReconcileAnswer, errors=(404, 503))
def get_reconcile(job_id: str) -> ReconcileAnswer:
    """As it stands."""
    report = room().serving.proofs.report(job_id)
    if report is None:
        raise NotFound("there is no such proof")
    return _shown(report)


def _shown(report: ProofReport) -> ReconcileAnswer:
    faults = sum(tenant.faults for tenant in report.tenants.values())
    return ReconcileAnswer(
        id=report.job_id,
        status=report.status,
        progress=Progress(stage=report.stage, done=report.done, total=report.total),
        tenants={name: _tenant(tenant) for name, tenant in report.tenants.items()},
        clean=report.status == "completed" and not faults,
        notes=list(report.notes),
        error=report.error,
    )


def _tenant(tenant: TenantProof) -> TenantAnswer:
    return TenantAnswer(
        checked=tenant.checked,
        missing=_stores(tenant, Kind.MISSING),
        extra=_stores(tenant, Kind.EXTRA),
        differing=_stores(tenant, Kind.DIFFERING),
        in_flight=tenant.in_flight,
        repaired=tenant.repaired,
        examples=[dict(example) for example in tenant.examples],
    )


def _stores(tenant: TenantProof, kind: Kind) -> Stores:
    found = {store.value: tenant.counts.get((kind.value, store.value), 0) for store in Store}
    return Stores(**found)

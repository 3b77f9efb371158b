"""Exports of memories, for administrators: one that is waited for, and jobs that are made in the background."""

from collections.abc import Mapping
from typing import Annotated

from flask import Response, g, request
from pydantic import AwareDatetime, Field

from app.adapters.http.open_streams import bound_sending, client_socket
from app.domain.errors import NotFound
from app.domain.exports import ExportJob, ExportStatus
from app.domain.rate_limit import Rate, within_rate
from app.gateway.api import Answer, Area, Query
from app.gateway.problems import BadRequest, rate_headers
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.routing import TaskName
from app.services.export_form import ExportForm, job_in
from app.services.export_memory import export_memory
from app.services.memory_filter_form import MemoryFilterForm
from app.telemetry.metrics import EXPORT_JOBS

exports = Area("exports")
STALL_SECONDS = 13
"""A reader that takes nothing for so long is cut off; the kernel looks at it often enough to do so within 15 s."""


class ExportQuery(MemoryFilterForm, Query):
    """Which memories, and how many at most."""

    limit_total: Annotated[int, Field(ge=1, lt=2**63)] | None = None


class ExportAccepted(Answer):
    """The job is kept and will be made."""

    job_id: str
    status: ExportStatus


class ExportInfo(Answer):
    """How a job stands; `sha256` and `byte_size` are those of the download, `download_url` is its address."""

    id: str
    status: ExportStatus
    tenant: str
    gzip: bool
    row_count: int
    total_rows: int | None
    byte_size: int
    sha256: str | None
    error: str | None
    download_url: str | None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None
    expires_at: AwareDatetime | None


@exports.route(
    "GET",
    "/v1/memory/export",
    "Memories of one moment as JSON lines, newest first; the last line says whether these are all",
    query=ExportQuery,
    answer="application/x-ndjson",
    errors=(400, 422, 429, 503),
)
def stream_export(query: ExportQuery) -> Response:
    """Open the stream; a reader that takes nothing for 15 s is cut off."""
    headers = _allowed(query.tenant)
    pieces = export_memory(query.filter(), query.limit_total, room().serving.exporting)
    keep_reading()
    headers = {**headers, "Content-Disposition": 'attachment; filename="memories.ndjson"', "X-Accel-Buffering": "no"}
    return Response(pieces, mimetype="application/x-ndjson", headers=headers)


def keep_reading() -> None:
    """From now on the reader of this answer is cut off when it stalls."""
    sock = client_socket(request.environ)
    if sock is not None:
        bound_sending(sock, STALL_SECONDS, STALL_SECONDS)


def _allowed(tenant: str | None) -> Mapping[str, str]:
    """What the caller may still do; raises where it may not export."""
    serving = room().serving
    if serving.settings.gateway_export_require_tenant and not tenant:
        errors = [{"loc": ["query", "tenant"], "msg": "it is missing"}]
        raise BadRequest(400, "name the tenant whose memories are to be exported, as `tenant`", errors)
    rate = Rate(serving.settings.gateway_exports_per_minute, 60.0)
    key = f"export:anonymous:{tenant or serving.settings.soma_tenant_id}"
    return rate_headers(within_rate(serving.limiter, key, rate))


@exports.route(
    "POST",
    "/v1/memory/export/jobs",
    "Have an export made in the background; it is kept before this answers",
    body=ExportForm,
    answer=ExportAccepted,
    statuses=(202,),
    errors=(400, 409, 413, 415, 422, 429, 503),
    headers=REPEATABLE,
)
def post_export_job(body: ExportForm) -> Response:
    """Parse, keep, answer 202."""
    serving = room().serving
    headers = _allowed(body.tenant)
    tenant = serving.settings.soma_tenant_id
    wanted = job_in(body, tenant, serving.settings.memory_export_max_rows, g.traceparent)
    receipt = serving.export_desk.accept(wanted, key_of(body, body.tenant_named or tenant))
    serving.doorbell.ring(TaskName.EXPORT, receipt.event_id)
    if not receipt.replayed:
        EXPORT_JOBS.labels("accepted").inc()
    accepted = ExportAccepted(job_id=receipt.event_id, status=ExportStatus.QUEUED)
    answer = repeatable(accepted.model_dump(mode="json"), receipt.replayed, 202)
    answer.headers.update(headers)
    return answer


@exports.route("GET", "/v1/memory/export/jobs/<job_id>", "How far an export is", answer=ExportInfo, errors=(404, 503))
def get_export_job(job_id: str) -> ExportInfo:
    """As it stands now."""
    return _info(found_job(job_id))


@exports.route(
    "DELETE",
    "/v1/memory/export/jobs/<job_id>",
    "Cancel an export; of one that is completed, give its bytes away now",
    answer=ExportInfo,
    errors=(404, 503),
)
def delete_export_job(job_id: str) -> ExportInfo:
    """As it stands then; one that has another end stays as it is."""
    desk = room().serving.export_desk
    found_job(job_id)
    if desk.cancel(job_id):
        EXPORT_JOBS.labels("cancelled").inc()
    else:
        desk.expire(job_id)
    return _info(found_job(job_id))


def found_job(job_id: str) -> ExportJob:
    """The job; `NotFound` where there is none."""
    job = room().serving.export_desk.find(job_id)
    if job is None:
        raise NotFound("there is no such export")
    return job


def _info(job: ExportJob) -> ExportInfo:
    return ExportInfo(
        id=job.job_id,
        status=job.status,
        tenant=job.tenant,
        gzip=job.gzip,
        row_count=job.row_count,
        total_rows=job.total_rows,
        byte_size=job.byte_size,
        sha256=job.sha256,
        error=job.reason if job.status is ExportStatus.FAILED else None,
        download_url=f"/v1/memory/export/jobs/{job.job_id}/download" if job.available else None,
        created_at=job.created_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
    )

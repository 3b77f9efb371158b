"""What an export job made, handed out: whole or by `Range`, so that a download that broke off goes on where it was."""

from collections.abc import Callable, Generator

from flask import Response, request
from werkzeug.datastructures import ContentRange
from werkzeug.http import parse_range_header

from app.domain.errors import Conflict
from app.domain.exports import ExportJob, ExportStatus
from app.gateway.api import Area
from app.gateway.exports import found_job, keep_reading
from app.gateway.problems import problem
from app.gateway.room import room

downloads = Area("downloads")
_PIECE_BYTES = 2**16
_Part = tuple[int, int]


@downloads.route(
    "GET",
    "/v1/memory/export/jobs/<job_id>/download",
    "The bytes of a completed export",
    answer="application/octet-stream",
    statuses=(200, 206, 304),
    errors=(404, 409, 410, 416, 503),
    headers={
        "Range": "Which bytes: bytes=FIRST-LAST",
        "If-Range": "The ETag of what is there already",
        "If-None-Match": "The ETag of what is there already",
    },
)
def download(job_id: str) -> Response:
    """Everything, or the part that is asked for."""
    job = found_job(job_id)
    if job.status is not ExportStatus.COMPLETED:
        raise Conflict(f"this export is {job.status}, and only a completed one can be had")
    if not job.available:
        return problem(410, "This export has expired and its bytes are gone; ask for a new one.")
    if request.if_none_match.contains(job.sha256 or ""):
        return Response(status=304, headers=_headers(job))
    part = _part(job)
    return _beyond(job) if part is None else _send(job, part)


def _part(job: ExportJob) -> _Part | None:
    """From which byte to before which one; None where nothing of what is asked for is there."""
    whole = (0, job.byte_size)
    wanted = parse_range_header(request.headers.get("Range"))
    # Of several parts at once, of other units, and of an older file everything is sent, which is always right.
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or not _is_the_same(job):
        return whole
    return wanted.range_for_length(job.byte_size)


def _is_the_same(job: ExportJob) -> bool:
    given = request.if_range
    return "If-Range" not in request.headers or given.etag == job.sha256


def _beyond(job: ExportJob) -> Response:
    answer = problem(416, f"This export has {job.byte_size} bytes, and none of them was asked for.")
    answer.headers["Content-Range"] = str(ContentRange("bytes", None, None, job.byte_size))
    return answer


def _send(job: ExportJob, part: _Part) -> Response:
    first, behind = part
    is_whole = part == (0, job.byte_size)
    headers = {**_headers(job), "Content-Length": str(behind - first)}
    if not is_whole:
        headers["Content-Range"] = str(ContentRange("bytes", first, behind, job.byte_size))
    # As it is stored: a `Content-Encoding` would have clients unpack it and miss its checksum.
    kind = "application/gzip" if job.gzip else "application/x-ndjson"
    keep_reading()
    return Response(_pieces(job.job_id, first, behind), 200 if is_whole else 206, headers, mimetype=kind)


def _headers(job: ExportJob) -> dict[str, str]:
    name = f"memories-{job.job_id}.ndjson{'.gz' if job.gzip else ''}"
    return {
        "ETag": f'"{job.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Accel-Buffering": "no",
    }


def _pieces(job_id: str, first: int, behind: int) -> Generator[bytes]:
    """What is missing in the end was erased meanwhile; the reader sees that from `Content-Length`."""
    desk = room().serving.export_desk
    return _read(lambda at: desk.read(job_id, at, min(_PIECE_BYTES, behind - at)), first, behind)


def _read(read: Callable[[int], bytes], first: int, behind: int) -> Generator[bytes]:
    while first < behind and (piece := read(first)):
        yield piece
        first += len(piece)

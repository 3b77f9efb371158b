"""One slice of an export job: some chunks, each kept with how far the job is, until it is whole or the slice is over.

A job that is not whole is given back and rung for, so that it never holds up what shares its queue. Whoever takes it
up goes on behind its last chunk; what was made is not made again.
"""

import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.domain.errors import LeaseLost
from app.domain.export_ports import ExportJobs
from app.domain.exports import MAX_DEATHS, Chunk, ClaimedExport, ExportLine, NoRoom, last_line
from app.domain.ports import Clock, Doorbell
from app.routing import TaskName
from app.services.survive import surviving

_CHUNK_BYTES = 2**20
_FIRST_ROWS = 64
_KNOWN_SUMS = 16


@dataclass(slots=True)
class _Sum:
    """The checksum of a job's first so many chunks."""

    chunks: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, content: bytes) -> None:
        self.sha256.update(content)
        self.chunks += 1

    def with_more(self, content: bytes) -> str:
        more = self.sha256.copy()
        more.update(content)
        return more.hexdigest()


@dataclass(frozen=True, slots=True)
class ExportOffice:
    """What a worker needs to make exports; `ended` counts how they ended. The checksums of jobs that it made a part of
    stay here, so that only a job that comes from another process has to be read back.
    """

    jobs: ExportJobs
    doorbell: Doorbell
    clock: Clock
    stopping: Callable[[], bool]
    present: Callable[[], bool]
    ended: Callable[[str], None]
    page_rows: int = 1000
    slice_seconds: float = 3.0
    sums: dict[str, _Sum] = field(default_factory=dict)


def run_export(job_id: str, office: ExportOffice) -> str:
    """Work on this job for a slice if nobody else does; returns what became of it, in a word."""
    if office.stopping() or not office.present():
        return "nothing to do"
    with office.jobs.working_on(job_id):
        job = office.jobs.claim(job_id)
        if job is None:
            return "nothing to do"
        try:
            with surviving(lambda: office.jobs.survived(job)):
                return _slice(job, office)
        except LeaseLost:
            return "lease lost"


def _slice(job: ClaimedExport, office: ExportOffice) -> str:
    if job.deaths >= MAX_DEATHS:
        return _fail(job, office, "dead", f"{job.deaths} workers died with this export")
    until = office.clock.monotonic() + office.slice_seconds
    if job.total_rows is None:
        job = office.jobs.begin(job)
    made = _sum_of(job, office)
    rows = min(_FIRST_ROWS, office.page_rows)
    try:
        while office.clock.monotonic() < until and not office.stopping():
            lines = office.jobs.page(job, min(rows, job.rows_left)) if job.rows_left else ()
            if len(lines) < rows:
                return _finish(job, lines, made, office)
            chunk = _chunk(job, lines)
            job = office.jobs.keep(job, chunk)
            made.add(chunk.content)
            rows = _rows_that_fit(lines, office.page_rows)
    except NoRoom as error:
        return _fail(job, office, "failed", str(error))
    return _give_back(job, office)


def _finish(job: ClaimedExport, lines: Sequence[ExportLine], made: _Sum, office: ExportOffice) -> str:
    """The last chunk and the end of the job are one: nobody can write a second last line."""
    rows = job.row_count + len(lines)
    total = rows if rows < job.row_limit else max(rows, job.total_rows or 0)
    chunk = _chunk(job, lines, last_line(rows, total))
    office.jobs.finish(job, chunk, made.with_more(chunk.content))
    office.sums.pop(job.job_id, None)
    office.ended("completed")
    return "completed"


def _chunk(job: ClaimedExport, lines: Sequence[ExportLine], *more: str) -> Chunk:
    content = "".join(f"{text}\n" for text in (*(line.text for line in lines), *more)).encode()
    # Each chunk is a gzip file of its own, so that work goes on behind any of them; one after another they are one.
    content = gzip.compress(content, 6, mtime=0) if job.gzip else content
    return Chunk(content, len(lines), lines[-1].place if lines else None)


def _rows_that_fit(lines: Sequence[ExportLine], most: int) -> int:
    size = sum(len(line.text) for line in lines) or 1
    return max(1, min(most, len(lines) * 4, len(lines) * _CHUNK_BYTES // size))


def _sum_of(job: ClaimedExport, office: ExportOffice) -> _Sum:
    """The checksum up to where the job is; what this process has not made itself is read back."""
    known = office.sums.pop(job.job_id, None)
    if known is None or known.chunks > job.chunks:
        known = _Sum()
    for content in office.jobs.chunks(job, known.chunks):
        known.add(content)
    while len(office.sums) >= _KNOWN_SUMS:
        office.sums.pop(next(iter(office.sums)), None)
    office.sums[job.job_id] = known
    return known


def _fail(job: ClaimedExport, office: ExportOffice, state: str, reason: str) -> str:
    office.jobs.fail(job, state, reason)
    office.sums.pop(job.job_id, None)
    office.ended(state)
    return state


def _give_back(job: ClaimedExport, office: ExportOffice) -> str:
    office.jobs.give_back(job)
    office.doorbell.ring(TaskName.EXPORT, job.job_id)
    return "given back"

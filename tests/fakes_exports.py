"""Export jobs in memory: the desk's view and a worker's, on the rows of an `InMemoryStore`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Conflict, LeaseLost
from app.domain.exports import Chunk, ClaimedExport, ExportJob, ExportLine, ExportRequest, NoRoom
from tests.fakes_store import FakePresence, InMemoryStore
from tests.fakes_work import Row


@dataclass
class FakeExport:
    """What the two tables hold of a job."""

    request: ExportRequest
    upto_id: int | None = None
    total_rows: int | None = None
    row_count: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    sha256: str | None = None
    expires_at: float | None = None
    session_id: None = None

    @property
    def tenant(self) -> str:
        return self.request.tenant

    @property
    def content(self) -> bytes:
        return b"".join(chunk.content for chunk in self.chunks)


@dataclass
class InMemoryExports:
    """`ExportDesk` and `ExportJobs` of one process. `lines` are the tenant's memories, newest first."""

    store: InMemoryStore
    presence: FakePresence
    lease_seconds: float = 30.0
    room: int = 2**31
    keep_seconds: float = 24 * 3600
    lines: Callable[[str | None], Sequence[ExportLine]] = lambda _tenant: ()

    # --- ExportDesk

    def accept(self, request: ExportRequest, key: RequestKey | None) -> Receipt:
        with self.store.transaction():
            first = self.store.first_receipt(key) if key else None
            if first is not None:
                return first
            if self._kept() >= self.room:
                raise Conflict("there is no room for another export; delete one, or wait until one has expired")
            self.store.export_rows.add(request.job_id, FakeExport(request))
            receipt = Receipt("", request.job_id)
            if key is not None:
                self.store.take_key(key, receipt)
            return receipt

    def _kept(self) -> int:
        return sum(len(row.thing.content) for row in self.store.export_rows.rows.values())

    def find(self, job_id: str) -> ExportJob | None:
        with self.store.transaction():
            row = self.store.export_rows.rows.get(job_id)
            return None if row is None else self._job(row)

    def _job(self, row: Row[FakeExport]) -> ExportJob:
        made, now = row.thing, self.store.clock.monotonic()
        available = row.state == "completed" and made.expires_at is not None and made.expires_at > now
        return ExportJob(
            row.key, made.tenant, row.state, made.request.gzip, made.row_count, made.total_rows, len(made.content),
            made.sha256, row.last_error, self.store.clock.now(), None, None, available,
        )  # fmt: skip

    def cancel(self, job_id: str) -> bool:
        with self.store.transaction():
            row = self.store.export_rows.rows.get(job_id)
            if row is None or row not in self.store.export_rows.owed:
                return False
            row.state, row.owner, row.lease_until = "cancelled", None, 0.0
            row.finished_at = self.store.clock.monotonic()
            return True

    def expire(self, job_id: str) -> bool:
        with self.store.transaction():
            row = self.store.export_rows.rows.get(job_id)
            if row is None or not self._job(row).available:
                return False
            row.thing.expires_at = self.store.clock.monotonic()
            return True

    def read(self, job_id: str, first: int, most: int) -> bytes:
        with self.store.transaction():
            at = 0
            for chunk in self.store.export_rows.rows[job_id].thing.chunks:
                if first < at + len(chunk.content):
                    return chunk.content[first - at :][:most]
                at += len(chunk.content)
            return b""

    # --- ExportJobs

    @contextmanager
    def working_on(self, job_id: str) -> Iterator[None]:
        with self.presence.working_on(job_id):
            yield

    def claim(self, job_id: str) -> ClaimedExport | None:
        with self.store.transaction():
            rows = self.store.export_rows
            if any(rows.is_held(row) for row in rows.owed if row.key != job_id):
                return None
            taken = rows.claim(self.presence.owner, self.lease_seconds, 1, lambda row: row.key == job_id)
            return _claimed(taken[0]) if taken else None

    def begin(self, job: ClaimedExport) -> ClaimedExport:
        with self.store.transaction():
            made, lines = self._ours(job), self.lines(job.wanted.tenant)
            made.upto_id = max((line.place.row_id for line in lines), default=0)
            made.total_rows = len(lines)
            return replace(job, upto_id=made.upto_id, total_rows=made.total_rows)

    def page(self, job: ClaimedExport, limit: int) -> Sequence[ExportLine]:
        with self.store.transaction():
            behind = (job.place.wal_timestamp, job.place.row_id) if job.place else (float("inf"), 0)
            found = [
                line
                for line in self.lines(job.wanted.tenant)
                if line.place.row_id <= (job.upto_id or 0) and (line.place.wal_timestamp, line.place.row_id) < behind
            ]
            return found[:limit]

    def keep(self, job: ClaimedExport, chunk: Chunk) -> ClaimedExport:
        with self.store.transaction():
            self._add(self._ours(job), chunk)
            return replace(
                job, chunks=job.chunks + 1, byte_size=job.byte_size + len(chunk.content),
                row_count=job.row_count + chunk.rows, place=chunk.place or job.place,
            )  # fmt: skip

    def _add(self, made: FakeExport, chunk: Chunk) -> None:
        if self._kept() + len(chunk.content) > self.room:
            raise NoRoom(f"all exports together may take {self.room} bytes, and this one would exceed that")
        made.chunks.append(chunk)
        made.row_count += chunk.rows

    def chunks(self, job: ClaimedExport, number: int) -> Iterator[bytes]:
        for chunk in self.store.export_rows.rows[job.job_id].thing.chunks[number : job.chunks]:
            yield chunk.content

    def finish(self, job: ClaimedExport, chunk: Chunk, sha256: str) -> None:
        with self.store.transaction():
            made = self._ours(job)
            self._add(made, chunk)
            made.sha256, made.expires_at = sha256, self.store.clock.monotonic() + self.keep_seconds
            self.store.export_rows.settle([job.lease], "completed")

    def fail(self, job: ClaimedExport, state: str, reason: str) -> None:
        with self.store.transaction():
            self._ours(job)
            self.store.export_rows.settle([job.lease], state, reason)

    def give_back(self, job: ClaimedExport) -> None:
        self.store.end(self.store.export_rows, [job.lease], lambda rows: rows.release([job.lease]))

    def survived(self, job: ClaimedExport) -> None:
        self.store.survived(self.store.export_rows, [job.lease])

    def due(self, limit: int) -> list[str]:
        with self.store.transaction():
            rows = self.store.export_rows
            if any(rows.is_held(row) for row in rows.owed):
                return []
            return [row.key for row in rows.owed if rows.is_due(row)][:limit]

    def _ours(self, job: ClaimedExport) -> FakeExport:
        if not self.store.export_rows.holds(job.lease):
            raise LeaseLost("the export was cancelled, or belongs to another attempt")
        made: FakeExport = self.store.export_rows.rows[job.job_id].thing
        return made


def _claimed(row: Row[FakeExport]) -> ClaimedExport:
    made = row.thing
    places = [chunk.place for chunk in made.chunks if chunk.place]
    return ClaimedExport(
        row.lease, made.request.wanted, made.request.row_limit, made.request.gzip, row.attempts - row.excused - 1,
        made.upto_id, places[-1] if places else None, made.row_count, made.total_rows, len(made.chunks),
        len(made.content),
    )  # fmt: skip

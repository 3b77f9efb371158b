"""What exports need from the world, as roles."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from app.domain.browse import MemoryFilter
from app.domain.conversation import Receipt, RequestKey
from app.domain.exports import Chunk, ClaimedExport, ExportJob, ExportLine, ExportRequest


class MemorySnapshot(Protocol):
    """The memories of one moment that match."""

    def pages(self, limit: int) -> Iterator[list[str]]:
        """The newest `limit` as JSON texts, in pages."""

    def count(self) -> int:
        """All of them."""


class ExportStream(Protocol):
    """Where an export that its reader waits for comes from."""

    def snapshot(self, wanted: MemoryFilter) -> AbstractContextManager[MemorySnapshot]:
        """One moment, for as long as the block runs; `OverLimit` when as many as may be are open already."""


class ExportDesk(Protocol):
    """The jobs, as those who ask for them see them."""

    def accept(self, request: ExportRequest, key: RequestKey | None) -> Receipt:
        """Keep the job; a repeated key gives the first receipt. `Conflict` while there is no room for its bytes."""

    def find(self, job_id: str) -> ExportJob | None:
        """As it stands now."""

    def cancel(self, job_id: str) -> bool:
        """End a job that has no end yet, whoever works on it; false when it has one."""

    def expire(self, job_id: str) -> bool:
        """Give a completed job's bytes away now; false when it is not completed, or has expired."""

    def read(self, job_id: str, first: int, most: int) -> bytes:
        """At most so many of the job's bytes from `first` on, as many as lie together; none where there are none."""


class ExportJobs(Protocol):
    """The jobs, as a worker sees them. Whatever changes one is refused with `LeaseLost` once somebody else has it."""

    def working_on(self, job_id: str) -> AbstractContextManager[None]:
        """While the block runs, a lease on this job is renewed."""

    def claim(self, job_id: str) -> ClaimedExport | None:
        """This job, leased; None when it has an end, is held, or another one is being worked on."""

    def begin(self, job: ClaimedExport) -> ClaimedExport:
        """Settle which rows belong to it, and how many there are."""

    def page(self, job: ClaimedExport, limit: int) -> Sequence[ExportLine]:
        """The next lines, from the job's place on."""

    def keep(self, job: ClaimedExport, chunk: Chunk) -> ClaimedExport:
        """One transaction: the chunk and how far the job is; `NoRoom` where it would exceed the quota."""

    def chunks(self, job: ClaimedExport, number: int) -> Iterator[bytes]:
        """What is kept of it, from this chunk on."""

    def finish(self, job: ClaimedExport, chunk: Chunk, sha256: str) -> None:
        """One transaction: the last chunk, and that it is whole; `NoRoom` as for any other chunk."""

    def fail(self, job: ClaimedExport, state: str, reason: str) -> None:
        """It ends without being whole; `state` is failed or dead."""

    def give_back(self, job: ClaimedExport) -> None:
        """Due again now."""

    def survived(self, job: ClaimedExport) -> None:
        """This claim was lost, or could not be ended, and its worker lives: it is no death. Never raises."""

    def due(self, limit: int) -> list[str]:
        """Jobs that could be claimed now, oldest first."""

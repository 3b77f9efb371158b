"""Exports of memories: what is asked for, how far a job is, and the line that tells a whole one from a cut. Pure."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.browse import MemoryFilter, Position
from app.domain.errors import Rejected
from app.domain.leases import Lease

MAX_DEATHS = 5


class ExportStatus(StrEnum):
    """How a job stands, in the words of the contract."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NoRoom(Rejected):
    """The bytes of all exports together would exceed what they may take."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """One job as it is asked for."""

    job_id: str
    tenant: str
    wanted: MemoryFilter
    row_limit: int
    gzip: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One job as people see it; `state` is that of its row, `available` while its bytes can be had."""

    job_id: str
    tenant: str
    state: str
    gzip: bool
    row_count: int
    total_rows: int | None
    byte_size: int
    sha256: str | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    available: bool

    @property
    def status(self) -> ExportStatus:
        """A job that killed its workers has failed; only the desk tells it from others."""
        if self.state in ("dead", "discarded"):
            return ExportStatus.FAILED
        # Between two slices of work it waits for its next one: it runs, though nobody has it in hand.
        if self.state == "queued" and self.total_rows is not None:
            return ExportStatus.RUNNING
        return ExportStatus(self.state)


@dataclass(frozen=True, slots=True)
class ClaimedExport:
    """A claimed job: what it is about, how far it is, and the lease. `deaths` is how many workers died with it."""

    lease: Lease
    wanted: MemoryFilter
    row_limit: int
    gzip: bool
    deaths: int = 0
    upto_id: int | None = None
    place: Position | None = None
    row_count: int = 0
    total_rows: int | None = None
    chunks: int = 0
    byte_size: int = 0

    @property
    def job_id(self) -> str:
        """Its key."""
        return self.lease.key

    @property
    def rows_left(self) -> int:
        """How many rows it may still have."""
        return max(0, self.row_limit - self.row_count)


@dataclass(frozen=True, slots=True)
class ExportLine:
    """One memory as JSON text, and its place."""

    text: str
    place: Position


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes of a job: so many rows, after which it is at `place`."""

    content: bytes
    rows: int
    place: Position | None


def last_line(rows: int, total_rows: int) -> str:
    """Ends every export, so that its reader can tell a whole one from one that broke off."""
    return json.dumps({"truncated": total_rows > rows, "rows": rows, "total_rows": total_rows})

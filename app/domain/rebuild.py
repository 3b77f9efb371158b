"""Rebuilding from the log: what a rebuild is, how far it is, and what it found. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.domain.audit import AuditEntry
from app.domain.errors import Rejected
from app.domain.log import WalBatch
from app.domain.memory import Memory
from app.domain.wal import ReplicaRow


class RebuildKind(StrEnum):
    """What is made anew: the replica, or the replica and then the memories of a SomaBrain."""

    REPLICA = "replica"
    BRAIN = "brain"


class RebuildState(StrEnum):
    """How far a rebuild is; the last three are ends."""

    QUEUED = "queued"
    READING = "reading"
    REMEMBERING = "remembering"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (RebuildState.COMPLETED, RebuildState.FAILED, RebuildState.CANCELLED)


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table says, in whatever order its rows lie."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The replica as it was (`old`) beside what the log says (`new`), both at the same place of the log; `examples` are
    event ids of rows that differ, or that only one of them has.
    """

    old: TableDigest
    new: TableDigest
    only_old: int = 0
    only_new: int = 0
    differing: int = 0
    examples: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the replica was what the log says."""
        return self.old == self.new


@dataclass(frozen=True, slots=True)
class Rebuild:
    """One rebuild. `poison` counts records that no replica can hold; `cursor` is the last row that was remembered."""

    id: str
    kind: RebuildKind
    state: RebuildState
    created_at: datetime
    read: int = 0
    to_read: int = 0
    poison: int = 0
    comparison: Comparison | None = None
    cursor: int = 0
    remembered: int = 0
    to_remember: int = 0
    refused: int = 0
    error: str | None = None
    finished_at: datetime | None = None


class LogGone(Rejected):
    """The log does not hold what the replica was made of: nothing can be rebuilt from it; the text says why."""


class RebuildDesk(Protocol):
    """Rebuilds, as people ask for them."""

    def start(self, kind: RebuildKind, entry: AuditEntry) -> tuple[Rebuild, bool]:
        """A new rebuild and True; the one that is under way and False."""

    def find(self, rebuild_id: str) -> Rebuild | None: ...

    def cancel(self, rebuild_id: str, entry: AuditEntry) -> Rebuild:
        """End it and forget what it made so far; `Conflict` when it is over. What SomaBrain has remembered stays."""


Rest = Callable[[Mapping[int, int], Mapping[int, int]], Iterable[tuple[WalBatch, Sequence[ReplicaRow]]]]
"""What the log holds from some places on and before others, as far as it comes in time."""


class RebuildStore(Protocol):
    """The table that grows beside the replica, and how far it is."""

    def current(self) -> Rebuild | None:
        """The one that is under way."""

    def begin(self, rebuild_id: str) -> None:
        """One transaction: reading from the beginning of the log into an empty table. Nothing where it has begun."""

    def places(self, rebuild_id: str) -> dict[int, int]:
        """How far the new table is, by partition."""

    def targets(self) -> dict[int, int]:
        """How far the replica is, by partition."""

    def store(self, rebuild: Rebuild, batch: WalBatch, good: Sequence[ReplicaRow], to_read: int) -> None:
        """One transaction: rows and place. `LeaseLost` when another slice was faster, or the rebuild is over."""

    def settle(self) -> None:
        """Make the new table's plans as good as the replica's."""

    def switch(self, rebuild: Rebuild, rest: Rest) -> Comparison | None:
        """One transaction, in which the replica stands still: store what the new table still lacks, compare both and
        let the new one take the replica's place. None, and the replica is as it was, when `rest` brings too little or
        somebody reads the replica; `LeaseLost` when the rebuild is over.
        """

    def fail(self, rebuild: Rebuild, reason: str) -> None:
        """End it and forget what it made."""


class WalHistory(Protocol):
    """The log from its beginning, for one reader outside of every group."""

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """By partition the first offset that is there and the next one to be written; `WalUnavailable`."""

    def read(self, places: Mapping[int, int], until: Mapping[int, int], seconds: float, limit: int) -> list[WalBatch]:
        """What comes within this time from `places` on and before `until`, per partition; `WalUnavailable`. A batch
        may be empty: offsets that hold no record are passed, too.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class MemoryPage:
    """Memories to remember, of the replica's rows after `start` and up to `end`, `last` where there were no more."""

    start: int
    end: int
    memories: tuple[Memory, ...]
    last: bool


class RebuiltMemories(Protocol):
    """The rebuilt replica on its way into a brain."""

    def current(self) -> Rebuild | None:
        """The rebuild that is under way."""

    def page(self, rebuild: Rebuild, limit: int) -> MemoryPage:
        """The next memories that are not forgotten."""

    def forgotten_since(self, rebuild: Rebuild, page: MemoryPage) -> list[Memory]:
        """Which of this stretch were forgotten since the rebuild was asked for."""

    def passed(self, rebuild: Rebuild, page: MemoryPage, remembered: int, refused: Sequence[str]) -> Rebuild:
        """This stretch is done; `refused` are reasons. `LeaseLost` when somebody was faster, or it is over."""

    def complete(self, rebuild: Rebuild) -> None:
        """All are remembered."""

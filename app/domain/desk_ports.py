"""What the desk needs from the world, as roles: the dead letters and the work that is owed or dead."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.domain.audit import AuditEntry
from app.domain.dead_letters import Choice, DeadLetter, Replay, TopicDepth
from app.domain.desk import WorkCount, WorkFilter, WorkItem, WorkName, WorkPlace


class DeadLetters(Protocol):
    """The dead letters of every topic. What changes them writes its audit entry in the same transaction."""

    def topics(self, groups: int) -> list[TopicDepth]:
        """Topics with open letters, each with at most so many of its largest groups; no letter is read."""

    def knows(self, topic: str) -> bool:
        """Whether a letter of this topic was ever kept."""

    def page(
        self, topic: str, fingerprint: str | None, state: str | None, before: int | None, limit: int
    ) -> list[DeadLetter]:
        """Newest first; of each letter only as many bytes as people look at."""

    def states(self, topic: str, ids: Sequence[int]) -> dict[int, str]:
        """The states of those letters that exist."""

    def take_open(self, choice: Choice, limit: int, max_bytes: int) -> list[DeadLetter]:
        """The first of the chosen open letters, whole; at least one where there is one."""

    def newest_open(self, topic: str) -> int:
        """The highest id of its open letters, 0 when there is none."""

    def count_open(self, choice: Choice) -> int:
        """How many open letters are chosen."""

    def versions(self, event_ids: Sequence[str]) -> Mapping[str, tuple[int, bytes]]:
        """The version and the body digest that the replica holds, where it holds one."""

    def replay(self, replays: Sequence[Replay], per_second: float | None, entry: AuditEntry) -> list[int]:
        """One transaction: letters replayed, their records owed to the log, the deed noted. Those still open."""

    def discard(self, choice: Choice, limit: int, entry: AuditEntry) -> int:
        """One transaction: at most so many open letters discarded, the deed noted. How many that were."""


class WorkDesk(Protocol):
    """Turns, memories and records that are owed or dead. What changes one writes its audit entry with it."""

    def counts(self) -> list[WorkCount]:
        """Every kind, also one with nothing to show."""

    def items(self, wanted: WorkFilter, after: WorkPlace | None, limit: int) -> list[WorkItem]:
        """Dead rows first, then owed ones, each oldest first."""

    def item(self, kind: WorkName, key: str) -> WorkItem | None:
        """One row in whatever state."""

    def hurry(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        """Make an owed row due now; false when it is not owed, or in a worker's hands."""

    def revive(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        """Give a dead row as many lives as a new one; false when it is not dead."""

    def discard(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        """Put a dead row away for good; false when it is not dead."""

"""What services need from the world, as roles; each is implemented by one adapter and one fake."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.domain.conversation import Receipt, RequestKey, Turn, UserMessage
from app.domain.events import NewEvent, SessionEvent
from app.domain.kept_text import Saved
from app.domain.leases import Lease
from app.domain.log import WalBatch, WalPartition, WalPlace
from app.domain.memory import Memory, Place, Remembered, WalRecord
from app.domain.tool_loop import StepPlan, TakenStep
from app.domain.wal import Poison, ReplicaRow
from app.routing import TaskName


class Doorbell(Protocol):
    """Tells workers to look; never blocks, never fails, may be lost."""

    def ring(self, task: TaskName, *ids: str, expires: float | None = None) -> None:
        """`expires` seconds later an unheard ring is forgotten."""

    def waiting(self, task: TaskName) -> int:
        """Rings in this task's queue that nobody has heard yet; 0 where that cannot be known."""


class Inbox(Protocol):
    """Keeps messages."""

    def accept(self, message: UserMessage, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        """One transaction, one commit: message, turn and memory are kept, or nothing is (`StoreUnavailable`)."""


class Broadcast(Protocol):
    """Shows things to whoever is watching a session now; never blocks, never fails, may be lost."""

    def publish(self, session_id: str, item: Mapping[str, Any]) -> None: ...


class Turns(Protocol):
    """The turns a conversation worker owes."""

    def working_on(self, event_id: str) -> AbstractContextManager[None]:
        """While the block runs, a lease on this turn is renewed."""

    def claim(self, event_id: str) -> Turn | None:
        """This turn, leased; None when it is done, not due, held, or another's."""

    def save_partials(self, texts: Sequence[tuple[Turn, str]]) -> Saved:
        """Make what these attempts have said so far durable."""

    def note(self, turn: Turn, event: NewEvent) -> SessionEvent:
        """Append an event that does not end the turn."""

    def take_step(self, turn: Turn, plan: StepPlan) -> Sequence[SessionEvent]:
        """One transaction: the step, its calls and their events are kept, and the turn is given back until the last of
        the calls has ended. `LeaseLost` when another owns the turn.
        """

    def steps(self, turn: Turn) -> list[TakenStep]:
        """The steps so far, in order, with what their calls brought."""

    def finish(self, turn: Turn, event: NewEvent, state: str, memory_place: Place | None) -> SessionEvent:
        """One transaction: the ending event, the turn's last state and, with a place, the answer's memory."""

    def postpone(self, turn: Turn, seconds: float, reason: str) -> None:
        """Give the turn back, due again after a pause."""

    def wait(self, turn: Turn, seconds: float, reason: str) -> None:
        """Give the turn back as it was, due again after a pause: what has to be asked first is away, however long
        that takes. Neither a claim nor a failure is held against the turn.
        """

    def lose(self, turn: Turn, reason: str) -> None:
        """Give back a turn whose own process ended over it; it counts as a death."""

    def survived(self, turn: Turn) -> None:
        """This claim was lost, or could not be ended, and its worker lives: it is no death. Never raises."""

    def next_due(self, session_id: str) -> str | None:
        """The event id of the session's next turn that may run now."""


@dataclass(frozen=True, slots=True)
class OwedMemory:
    """A claimed memory row; `forget` tells that SomaBrain is to forget this memory, else it is to remember it."""

    lease: Lease
    memory: Memory
    forget: bool = False


WAKE_LIMIT = 5_000
"""Rows woken at once: more than a second's deliveries, and far less than one statement may take time for."""


class MemoryOutbox(Protocol):
    """Memories that SomaBrain has not confirmed."""

    def claim_due(self, limit: int) -> list[OwedMemory]: ...

    def claim_these(self, event_ids: Sequence[str]) -> list[OwedMemory]:
        """Those of these memories that are due."""

    def synced(self, remembered: Sequence[tuple[OwedMemory, Remembered]]) -> list[str]:
        """One transaction: rows synced and their WAL records owed; the event ids that were still ours. What was to be
        forgotten meanwhile is owed to be forgotten again."""

    def forgotten(self, owed: OwedMemory) -> bool:
        """SomaBrain has forgotten this one; whether the claim was still ours."""

    def postpone(self, owed: Sequence[OwedMemory], seconds: float, reason: str, outage: bool) -> None: ...

    def release(self, owed: Sequence[OwedMemory]) -> None: ...

    def bury(self, owed: OwedMemory, reason: str) -> None: ...

    def survived(self, owed: Sequence[OwedMemory]) -> None:
        """These claims could not be ended and their worker lives: they are no deaths. Never raises."""

    def waits_for_peer(self) -> bool:
        """Whether a memory waits because SomaBrain was away."""

    def wake(self, limit: int = WAKE_LIMIT) -> int:
        """Make due what waits because SomaBrain was away; the next probe wakes the next so many."""


@dataclass(frozen=True, slots=True)
class OwedRecord:
    """A claimed WAL record."""

    lease: Lease
    record: WalRecord


@dataclass(frozen=True, slots=True)
class Sent:
    """Where Kafka put a record."""

    partition: int
    offset: int


class MessageOutbox(Protocol):
    """Records that Kafka has not acknowledged."""

    def claim_due(self, limit: int) -> list[OwedRecord]: ...

    def sent(self, acknowledged: Sequence[tuple[OwedRecord, Sent]]) -> None: ...

    def postpone(self, owed: Sequence[OwedRecord], seconds: float, reason: str, outage: bool) -> None: ...

    def bury(self, owed: OwedRecord, reason: str) -> None: ...

    def survived(self, owed: Sequence[OwedRecord]) -> None:
        """These claims could not be ended and their worker lives: they are no deaths. Never raises."""


class WalWriter(Protocol):
    """Kafka, as the outbox sees it."""

    def publish(self, records: Sequence[WalRecord]) -> list[Sent | Exception]:
        """One outcome per record, in order: where it is, `WalUnavailable` or `Rejected`."""


class WalReader(Protocol):
    """The log, as one replicator slot sees it."""

    def poll(self, seconds: float, limit: int) -> list[WalBatch]:
        """What has come, per partition; `WalUnavailable` when the log cannot be read."""

    def commit(self, batch: WalBatch) -> None:
        """Tell Kafka's tools how far we are; the truth is in Postgres. Never raises."""

    def rewind(self) -> None:
        """Continue every partition at the offset that Postgres knows, from the next poll on."""


class Replica(Protocol):
    """The copy of the log that administrators browse."""

    def take(self, partition: WalPartition) -> WalPlace:
        """Have this partition from now on: batches of whoever had it before are refused. Where it stands."""

    def store(self, batch: WalBatch, good: Sequence[ReplicaRow], bad: Sequence[Poison]) -> list[ReplicaRow]:
        """One transaction: rows, dead letters, offset. The rows that were new; `LeaseLost` when another slot has
        taken the partition since.
        """


class HealthNotes(Protocol):
    """Where processes note how their dependency is, for `/v1/health` to read."""

    def note(self, component: str, status: str, detail: str) -> None: ...


class Clock(Protocol):
    """Time for what people see; leases and due times use the database's clock."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

"""The evidence of one drill: what clients were told, what exists afterwards, and what was seen on the way.

Plain data without opinions; `checker` judges it. Times are seconds since the epoch.
"""

import re
from dataclasses import dataclass

from drills.recorder import Message

TERMINAL_TYPES = frozenset({"assistant.final", "assistant.error", "assistant.cancelled", "policy.denied"})
TERMINAL_STATES = frozenset({"done", "failed", "dead", "cancelled"})
_MARK = re.compile(r"\bm\d{6}\b")


def mark_of(text: str) -> str:
    """The mark that the load put into a message and the model repeats in its answer; empty where there is none."""
    found = _MARK.search(text)
    return found.group() if found else ""


@dataclass(frozen=True, slots=True)
class Event:
    """One durable event of a session, as `GET /v1/sessions/{id}/events` shows it."""

    session_id: str
    seq: int
    event_id: str
    type: str
    text: str
    at: float
    attempt: int = 0
    """Which attempt of its turn wrote it; 0 where that is not told."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One row of `turns`."""

    event_id: str
    session_id: str
    seq: int
    state: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One memory in a store: SomaBrain, `memory.wal` or the replica. `writes` counts effects where they are known."""

    event_id: str
    text: str
    writes: int = 1
    version: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """What was visible at one moment: the product's own figures, and the drill's own probe of the fault."""

    at: float
    healthy: bool
    backlog: int | None
    metric_backlog: float | None
    felt: bool
    shown: bool
    accepted: int
    replica_rows: int | None
    offsets: int | None
    side_by_side: int = 0
    """Sessions in which more than one turn was running."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How often the fault was felt, how often it has to be, and whether the product can be expected to show it.

    `beside_posts` says that the fault lies beside the way of a POST, which must stay as quick as in the calm.
    """

    felt: int
    needed: int
    shows: bool = True
    beside_posts: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a reader of a stream was told; `number` is a durable event's `seq` or a delta's offset."""

    type: str
    durable: bool
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one reader of one session was told, over all the times it dropped and resumed."""

    session_id: str
    kind: str
    items: tuple[Item, ...]
    resumes: int
    head: int
    """The number of the last durable event that it had to be told."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What one process holds; `part` and `pid` name it."""

    part: str
    pid: int
    threads: int
    files: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the product's processes hold, and how many connections Postgres has from them."""

    processes: tuple[Vitals, ...]
    connections: int


@dataclass(frozen=True, slots=True)
class Window:
    """When the fault began, when it was healed, and when nothing was owed any more (None: never)."""

    broken_at: float
    healed_at: float
    drained_at: float | None
    patience_seconds: float

    def before(self, moment: float) -> bool:
        """Whether all was calm at this moment."""
        return moment < self.broken_at

    def covers(self, moment: float) -> bool:
        """Whether the fault was there at this moment."""
        return self.broken_at <= moment < self.healed_at


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that the checker judges."""

    messages: tuple[Message, ...]
    events: tuple[Event, ...]
    turns: tuple[Turn, ...]
    brain: tuple[Kept, ...]
    wal: tuple[Kept, ...]
    replica: tuple[Kept, ...]
    dead_letters: int
    samples: tuple[Sample, ...]
    window: Window
    planted: int = 0
    """Dead letters that the fault caused on purpose."""
    evidence: Evidence | None = None
    transcripts: tuple[Transcript, ...] = ()
    holdings: tuple[Holdings, Holdings] | None = None
    """Before the fault and after the quiet."""
    complaints: tuple[str, ...] = ()
    """What the fault's own checks found wrong."""
    proof: tuple[str, ...] = ()
    """What the system's own proof found wrong after the quiet."""
    calm_posts: tuple[float, ...] = ()
    """Seconds of each POST in every calm of this campaign until now; empty where only this record's own are known."""

    @property
    def accepted(self) -> list[Message]:
        """The messages whose acceptance a client was told."""
        return [message for message in self.messages if message.accepted]

    @property
    def finals(self) -> list[Event]:
        """Every complete answer."""
        return [event for event in self.events if event.type == "assistant.final"]

    @property
    def during(self) -> list[Sample]:
        """The samples taken while the fault was there."""
        return [sample for sample in self.samples if self.window.covers(sample.at)]

    def sessions(self) -> dict[str, list[Event]]:
        """The events of each session, by `seq`."""
        grouped: dict[str, list[Event]] = {}
        for event in sorted(self.events, key=lambda event: event.seq):
            grouped.setdefault(event.session_id, []).append(event)
        return grouped

    def expected_memories(self) -> dict[str, str]:
        """Id and text of every memory that must exist: accepted messages, and the answers to them."""
        sent = {event_id: message.text for message in self.accepted for event_id in message.event_ids}
        return sent | {event.event_id: event.text for event in self.finals}

    def stores(self) -> dict[str, tuple[Kept, ...]]:
        """The three places in which every memory must be, by the name that people know."""
        return {"SomaBrain": self.brain, "memory.wal": self.wal, "the replica": self.replica}

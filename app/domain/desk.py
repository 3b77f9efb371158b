"""The desk: every row that is owed or dead, and what a person may do about it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.errors import Conflict


class WorkState(StrEnum):
    """How a row stands at the desk: due or due later, held back by a peer's outage, in a worker's hands, dead."""

    OWED = "owed"
    WAITING = "waiting"
    LEASED = "leased"
    DEAD = "dead"


class WorkName(StrEnum):
    """The kinds of work, as `WorkKind.name` and the metrics call them."""

    TURN = "turn"
    MEMORY = "memory"
    RECORD = "record"
    TOOL_CALL = "tool_call"
    EXPORT = "export"
    WEBHOOK = "webhook"


class Retry(StrEnum):
    """The two ways of trying again: a row that is owed becomes due, a dead one gets another life."""

    HURRY = "hurry"
    REVIVE = "revive"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One row. `state` is a `WorkState`, or the row's own last state when it is finished; `topic` is a record's.

    `listed_at` is its place in the list: when it died, or when it was made.
    """

    kind: str
    id: str
    state: str
    tenant: str
    session_id: str | None
    topic: str | None
    attempts: int
    failures: int
    reason: str | None
    run_at: datetime
    created_at: datetime
    lease_owner: str | None
    listed_at: datetime


@dataclass(frozen=True, slots=True)
class WorkCount:
    """How many rows of one kind stand how, and the age in seconds of the oldest that is not dead."""

    kind: str
    owed: int
    waiting: int
    leased: int
    dead: int
    oldest_age_seconds: float


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """A place in the list: dead rows (rank 0) before the others (rank 1), each oldest first."""

    rank: int
    listed_at: datetime
    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class WorkFilter:
    """Which rows; None is every one."""

    kind: WorkName | None = None
    state: WorkState | None = None

    @property
    def kinds(self) -> tuple[WorkName, ...]:
        """The kinds that are meant."""
        return (self.kind,) if self.kind else tuple(WorkName)


def place_of_item(item: WorkItem) -> WorkPlace:
    """Where the next page begins after this item."""
    return WorkPlace(0 if item.state == WorkState.DEAD else 1, item.listed_at, item.kind, item.id)


def way_to_retry(item: WorkItem) -> Retry:
    """How this row can be tried again; `Conflict` says why it cannot."""
    match item.state:
        case WorkState.OWED | WorkState.WAITING:
            return Retry.HURRY
        case WorkState.LEASED:
            raise Conflict(f"a worker has this {item.kind} in hand right now; there is nothing to hurry")
        case WorkState.DEAD if item.kind != WorkName.TURN:
            return Retry.REVIVE
        case WorkState.DEAD:
            raise Conflict("its session has seen that this turn ended; the message has to be sent again")
    raise Conflict(f"this {item.kind} is {item.state}; only what is owed or dead can be tried again")


def check_discard(item: WorkItem) -> None:
    """Only what is dead may be thrown away; `Conflict` for anything else, since somebody still counts on it."""
    if item.state != WorkState.DEAD:
        raise Conflict(f"this {item.kind} is {item.state}; only what is dead can be discarded")

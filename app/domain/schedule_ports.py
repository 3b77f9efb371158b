"""What schedules need from the world, as roles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.conversation import Receipt, RequestKey
from app.domain.events import SessionEvent
from app.domain.schedules import KeptSchedule, Outcome, Run, Schedule

Edit = Callable[[Schedule], Schedule]
Place = tuple[datetime, str]
"""Where a page of schedules ended: when its last one was made, and its id."""


class ScheduleDesk(Protocol):
    """The schedules, as those who ask for them see them."""

    def accept(self, schedule: Schedule, key: RequestKey | None) -> Receipt:
        """Keep it with its first time; a repeated key gives the first receipt. `BadTiming` where it is never due."""

    def find(self, schedule_id: str) -> KeptSchedule | None:
        """As it stands now."""

    def page(self, tenant: str | None, before: Place | None, limit: int) -> Sequence[KeptSchedule]:
        """Newest first."""

    def change(self, schedule_id: str, edit: Edit) -> KeptSchedule | None:
        """Edit it while nobody else does, and while it does not run; None where there is none."""

    def remove(self, schedule_id: str) -> bool:
        """It, and what is known of its runs; false where there is none."""

    def runs(self, schedule_id: str, before: datetime | None, limit: int) -> Sequence[Run]:
        """Newest first."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a due time; with a message, its id and its events."""

    outcome: Outcome
    event_id: str | None = None
    events: Sequence[SessionEvent] = ()


class DueSchedules(Protocol):
    """The schedules whose time has come, as the worker sees them."""

    def due(self, limit: int) -> list[str]:
        """Some of them, in no order."""

    def run(self, schedule_id: str) -> Ran | None:
        """One transaction: the message is kept, the run is noted, the schedule goes on; None where it is not due, or
        somebody else has it in hand. Whatever is `Rejected` changes nothing.
        """

    def fail(self, schedule_id: str, reason: str) -> bool:
        """Note that this time cannot run, and go on; a schedule with no time to go on to is switched off."""

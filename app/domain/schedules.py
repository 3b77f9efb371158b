"""Schedules: messages that the system sends by itself, and what one that comes late does. Pure; time is an argument."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.conversation import Scalar, UserMessage
from app.domain.errors import Rejected
from app.domain.timing import BadTiming, Timing, first_time

MOST_COUNTED = 1000
"""Of the times that were missed no more are counted."""


class Missed(StrEnum):
    """What becomes of times at which the system was down: one turn for all of them, or none."""

    RUN_ONCE = "run_once"
    SKIP = "skip"


class Outcome(StrEnum):
    """What became of a time: a turn, a turn that came late, nothing as chosen, nothing because it is wrong."""

    RAN = "ran"
    RAN_LATE = "ran_late"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule; `next_run_at` is None when nothing follows or it is switched off, `reason` says what was wrong."""

    schedule_id: str
    tenant: str
    session_id: str
    message: str
    timing: Timing
    missed: Missed = Missed.RUN_ONCE
    enabled: bool = True
    tenant_named: bool = False
    persona_id: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    next_run_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class KeptSchedule:
    """A schedule and when it was made and changed."""

    schedule: Schedule
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about a due time: the outcome, for how many times it stands, and when it goes on."""

    due_at: datetime
    outcome: Outcome
    times: int
    next_run_at: datetime | None

    @property
    def sends(self) -> bool:
        """Whether a message is sent."""
        return self.outcome in (Outcome.RAN, Outcome.RAN_LATE)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one due time, as people see it; `times` are those it stands for, counted up to a thousand."""

    due_at: datetime
    outcome: Outcome
    times: int
    event_id: str | None
    reason: str | None
    created_at: datetime


def planned(schedule: Schedule, now: datetime) -> Schedule:
    """The schedule with its first time from now on; `BadTiming` where it is switched on and will never be due."""
    return replace(schedule, next_run_at=first_time(schedule.timing, now) if schedule.enabled else None, reason=None)


def changed(before: Schedule, after: Schedule, now: datetime) -> Schedule:
    """`after` with its next time: what is due already stays due, unless the times themselves were changed."""
    if (before.timing, before.enabled) == (after.timing, after.enabled):
        return replace(after, next_run_at=before.next_run_at)
    return planned(after, now)


def step(schedule: Schedule, now: datetime, grace: timedelta) -> Step:
    """What to do now about the time that is due; later than `grace` it is a missed one."""
    due = schedule.next_run_at
    if due is None or due > now:
        raise Rejected("this schedule is not due")
    in_time = now - grace
    if due >= in_time:
        return Step(due, Outcome.RAN, 1, schedule.timing.after(now))
    times = schedule.timing.count(due, in_time, MOST_COUNTED)
    if schedule.missed is Missed.SKIP:
        return Step(due, Outcome.SKIPPED, times, schedule.timing.after(in_time))
    return Step(due, Outcome.RAN_LATE, times, schedule.timing.after(now))


def moved_on(schedule: Schedule, taken: Step) -> Schedule:
    """The schedule after this step."""
    return replace(schedule, next_run_at=taken.next_run_at, reason=None)


def after_failure(schedule: Schedule, now: datetime, reason: str) -> Schedule:
    """The schedule after a time that could not run; one whose times cannot be told any more is switched off."""
    try:
        return replace(schedule, next_run_at=schedule.timing.after(now), reason=reason)
    except BadTiming as error:
        return replace(schedule, next_run_at=None, enabled=False, reason=str(error))


def message_of(schedule: Schedule, due_at: datetime) -> UserMessage:
    """The message of a due time; its id is the same however often it is made."""
    marks = {"schedule_id": schedule.schedule_id, "due_at": due_at.isoformat()}
    return UserMessage(
        event_id=str(uuid.uuid5(uuid.UUID(schedule.schedule_id), due_at.isoformat())),
        session_id=schedule.session_id,
        text=schedule.message,
        tenant=schedule.tenant,
        tenant_named=schedule.tenant_named,
        persona_id=schedule.persona_id,
        metadata={**schedule.metadata, **marks},
    )

"""Schedules whose time has come: each in a transaction of its own, so that one that is wrong stops no other."""

from collections import Counter
from dataclasses import dataclass

from app.domain.errors import Rejected
from app.domain.ports import Broadcast, Doorbell
from app.domain.schedule_ports import DueSchedules
from app.domain.schedules import Outcome
from app.routing import TaskName
from app.services.accept_message import hint_at

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Timetable:
    """What running schedules needs."""

    schedules: DueSchedules
    doorbell: Doorbell
    broadcast: Broadcast


def run_due_schedules(timetable: Timetable) -> Counter[Outcome]:
    """Send the messages that are due, and ring for the next round where there may be more; what became of how many."""
    due = timetable.schedules.due(_AT_ONCE)
    outcomes = Counter(outcome for schedule_id in due if (outcome := _run(schedule_id, timetable)) is not None)
    if len(due) == _AT_ONCE:
        timetable.doorbell.ring(TaskName.RUN_SCHEDULES)
    return outcomes


def _run(schedule_id: str, timetable: Timetable) -> Outcome | None:
    try:
        ran = timetable.schedules.run(schedule_id)
    except Rejected as error:
        return Outcome.FAILED if timetable.schedules.fail(schedule_id, str(error)) else None
    if ran is None:
        return None
    if ran.event_id is not None:
        hint_at(ran.event_id, ran.events, timetable)
    return ran.outcome

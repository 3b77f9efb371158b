"""A round of schedules: what is due is sent and rung for, and one that is wrong stops no other."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.schedules import Outcome, Schedule
from app.domain.timing import Timing
from app.routing import TaskName
from app.services.run_schedules import Timetable, run_due_schedules
from tests.builders import a_message
from tests.fakes import RecordingBroadcast, RecordingDoorbell
from tests.fakes_schedules import InMemorySchedules


@pytest.fixture
def schedules() -> InMemorySchedules:
    return InMemorySchedules()


@pytest.fixture
def timetable(schedules: InMemorySchedules) -> Timetable:
    return Timetable(schedules, RecordingDoorbell(), RecordingBroadcast())


def kept(schedules: InMemorySchedules, **fields: Any) -> Schedule:
    session_id, key = str(uuid.uuid4()), str(uuid.uuid4())
    schedule = Schedule(key, "t1", session_id, "hello", Timing(cron="* * * * *"), **{"tenant_named": True, **fields})
    schedules.accept(schedule, None)
    return schedule


def test_what_is_due_is_sent_shown_and_rung_for(schedules: InMemorySchedules, timetable: Timetable) -> None:
    schedule, off = kept(schedules), kept(schedules, enabled=False)
    assert run_due_schedules(timetable) == {}
    schedules.store.clock.advance(minutes=1)

    assert run_due_schedules(timetable) == {Outcome.RAN: 1}

    (message, _) = schedules.store.events[schedule.session_id]
    assert schedules.store.events[off.session_id] == []
    assert [item["type"] for item in timetable.broadcast.of(schedule.session_id)] == ["user", "assistant.started"]
    rings = [(ring.task, ring.ids) for ring in timetable.doorbell.rings]
    assert rings == [(TaskName.RESPOND, (message.event_id,)), (TaskName.SYNC_MEMORIES, ())]


def test_one_that_is_wrong_is_noted_and_stops_no_other(schedules: InMemorySchedules, timetable: Timetable) -> None:
    foreign, broken, well = kept(schedules), kept(schedules), kept(schedules)
    schedules.store.inbox().accept(a_message(session_id=foreign.session_id, tenant="other"), None)
    found = schedules.kept[broken.schedule_id]
    gone = replace(found.schedule, timing=Timing(cron="* * * * *", time_zone="Gone/Away"))
    schedules.kept[broken.schedule_id] = replace(found, schedule=gone)
    schedules.store.clock.advance(minutes=1)

    assert run_due_schedules(timetable) == {Outcome.FAILED: 2, Outcome.RAN: 1}

    assert len(schedules.store.events[well.session_id]) == 2
    assert schedules.kept[foreign.schedule_id].schedule.enabled
    assert not schedules.kept[broken.schedule_id].schedule.enabled
    assert run_due_schedules(timetable) == {}


def test_a_full_round_rings_for_the_next(schedules: InMemorySchedules, timetable: Timetable) -> None:
    for _ in range(101):
        kept(schedules)
    schedules.store.clock.advance(minutes=1)

    assert run_due_schedules(timetable).total() == 100
    assert TaskName.RUN_SCHEDULES in timetable.doorbell.tasks
    timetable.doorbell.rings.clear()
    assert run_due_schedules(timetable).total() == 1
    assert TaskName.RUN_SCHEDULES not in timetable.doorbell.tasks


def test_what_was_due_while_the_store_was_away_runs_late(schedules: InMemorySchedules, timetable: Timetable) -> None:
    schedule = kept(schedules)
    schedules.store.clock.advance(minutes=5)
    schedules.store.down = True
    with pytest.raises(StoreUnavailable):
        run_due_schedules(timetable)
    schedules.store.down = False

    assert run_due_schedules(timetable) == {Outcome.RAN_LATE: 1}

    (run,) = schedules.runs(schedule.schedule_id, None, 10)
    assert (run.times, run.created_at - run.due_at) == (4, timedelta(minutes=4))

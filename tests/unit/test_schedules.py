"""What a schedule does about a time that has come: in time, late, skipped; and after a failure or a change."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.errors import Rejected
from app.domain.schedules import Missed, Outcome, Schedule, after_failure, changed, message_of, planned, step
from app.domain.timing import BadTiming, Timing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=60)
HOUR = timedelta(hours=1)
HOURLY = Timing(cron="0 * * * *")


def a_schedule(**fields: Any) -> Schedule:
    values: dict[str, Any] = {"tenant": "t1", "session_id": "s-1", "message": "hello", "timing": HOURLY}
    return Schedule(str(uuid.uuid4()), **{**values, "next_run_at": NOON, **fields})


@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=60)])
def test_what_comes_within_the_grace_is_in_time(late: timedelta) -> None:
    taken = step(a_schedule(), NOON + late, GRACE)

    assert (taken.outcome, taken.times, taken.due_at) == (Outcome.RAN, 1, NOON)
    assert taken.next_run_at == NOON + HOUR


def test_all_missed_times_run_once() -> None:
    taken = step(a_schedule(), NOON + 3 * HOUR + timedelta(minutes=10), GRACE)

    assert (taken.outcome, taken.times, taken.due_at) == (Outcome.RAN_LATE, 4, NOON)
    assert taken.next_run_at == NOON + 4 * HOUR


def test_missed_times_are_skipped_and_one_that_is_still_in_time_is_not() -> None:
    taken = step(a_schedule(missed=Missed.SKIP), NOON + 3 * HOUR + timedelta(seconds=20), GRACE)

    assert (taken.outcome, taken.times, taken.sends) == (Outcome.SKIPPED, 3, False)
    assert taken.next_run_at == NOON + 3 * HOUR


def test_a_missed_moment_leaves_nothing_to_follow() -> None:
    once = a_schedule(timing=Timing(at=NOON))

    assert step(once, NOON + HOUR, GRACE).next_run_at is None
    assert step(replace(once, missed=Missed.SKIP), NOON + HOUR, GRACE).outcome is Outcome.SKIPPED


def test_what_is_not_due_does_nothing() -> None:
    for schedule in (a_schedule(next_run_at=None), a_schedule(next_run_at=NOON + HOUR)):
        with pytest.raises(Rejected):
            step(schedule, NOON, GRACE)


def test_the_message_of_a_time_is_the_same_however_often_it_is_made() -> None:
    schedule = a_schedule(metadata={"mood": "good"})

    first, again, later = (message_of(schedule, at) for at in (NOON, NOON, NOON + HOUR))

    assert first == again
    assert later.event_id != first.event_id
    assert message_of(a_schedule(), NOON).event_id != first.event_id
    marks = {"schedule_id": schedule.schedule_id, "due_at": NOON.isoformat()}
    assert first.metadata == {"mood": "good", **marks}


def test_a_change_of_its_times_plans_anew_and_any_other_change_does_not() -> None:
    before = a_schedule(next_run_at=NOON - HOUR)

    assert changed(before, replace(before, message="other"), NOON).next_run_at == NOON - HOUR
    assert changed(before, replace(before, timing=Timing(cron="30 * * * *")), NOON).next_run_at == NOON + HOUR / 2
    off = changed(before, replace(before, enabled=False), NOON)
    assert off.next_run_at is None
    assert changed(off, replace(off, enabled=True), NOON).next_run_at == NOON + HOUR


def test_what_is_switched_off_may_be_over() -> None:
    over = a_schedule(timing=Timing(at=NOON - HOUR))

    assert planned(replace(over, enabled=False), NOON).next_run_at is None
    with pytest.raises(BadTiming):
        planned(over, NOON)


def test_after_a_failure_it_goes_on_unless_its_times_cannot_be_told() -> None:
    assert after_failure(a_schedule(), NOON, "no").next_run_at == NOON + HOUR
    assert after_failure(a_schedule(), NOON, "no").reason == "no"
    broken = after_failure(a_schedule(timing=Timing(cron="0 * * * *", time_zone="Gone/Away")), NOON, "no")
    assert (broken.enabled, broken.next_run_at) == (False, None)
    assert "no such time zone" in str(broken.reason)

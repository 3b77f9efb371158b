"""What every `ScheduleDesk` and `DueSchedules` promises: each due time has one run and, as chosen, one turn."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.due_schedules import SqlDueSchedules
from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.adapters.sql.schedules import SqlScheduleDesk
from app.domain.errors import KeyReused, NotFound
from app.domain.schedule_ports import DueSchedules, ScheduleDesk
from app.domain.schedules import KeptSchedule, Missed, Outcome, Schedule
from app.domain.timing import BadTiming, Timing
from tests.builders import a_key, a_message, an_id
from tests.contracts.store_rig import MemoryRig, PostgresRig, StoreRig
from tests.fakes_schedules import InMemorySchedules

HOURLY = Timing(cron="0 * * * *")


class ScheduleRig(ABC):
    """Schedules of a tenant of their own, and the sessions that they speak in."""

    store: StoreRig
    desk: ScheduleDesk
    due: DueSchedules

    def __init__(self) -> None:
        self.tenant = an_id("t-")

    @abstractmethod
    def now(self) -> datetime: ...

    @abstractmethod
    def plan(self, schedule_id: str, moment: datetime) -> None:
        """Have its next time be this one."""

    def age(self, schedule_id: str, seconds: float) -> datetime:
        """Have its next time lie so far in the past."""
        past = self.now() - timedelta(seconds=seconds)
        self.plan(schedule_id, past)
        return past

    def kept(self, timing: Timing = HOURLY, **fields: Any) -> Schedule:
        values: dict[str, Any] = {"session_id": an_id("s-"), "message": "hello", "tenant_named": True, **fields}
        schedule = Schedule(an_id(), self.tenant, timing=timing, **values)
        self.desk.accept(schedule, None)
        return schedule

    def found(self, schedule: Schedule) -> KeptSchedule:
        found = self.desk.find(schedule.schedule_id)
        assert found is not None
        return found

    def ours(self) -> list[str]:
        """What is due of this tenant's."""
        mine = {kept.schedule.schedule_id for kept in self.desk.page(self.tenant, None, 1000)}
        return [key for key in self.due.due(10_000) if key in mine]


class MemoryScheduleRig(ScheduleRig):
    def __init__(self) -> None:
        super().__init__()
        memory = MemoryRig()
        self.store, self._fake = memory, InMemorySchedules(memory.store)
        self.desk = self.due = self._fake

    def now(self) -> datetime:
        return self._fake.store.clock.now()

    def plan(self, schedule_id: str, moment: datetime) -> None:
        kept = self._fake.kept[schedule_id]
        self._fake.kept[schedule_id] = replace(kept, schedule=replace(kept.schedule, next_run_at=moment))


class SqlScheduleRig(ScheduleRig):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.store = PostgresRig(engine)
        self.desk = SqlScheduleDesk(engine)
        self.due = SqlDueSchedules(engine, SqlInbox(engine, MemoryDefaults("", "wm")), 60)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def plan(self, schedule_id: str, moment: datetime) -> None:
        with self._engine.begin() as connection:
            sql = "UPDATE schedules SET next_run_at = :moment WHERE schedule_id = :id"
            connection.execute(text(sql), {"moment": moment, "id": schedule_id})


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> Iterator[ScheduleRig]:
    memory = request.param == "memory"
    made: ScheduleRig = MemoryScheduleRig() if memory else SqlScheduleRig(request.getfixturevalue("engine"))
    yield made
    for kept in made.desk.page(made.tenant, None, 1000):
        made.desk.remove(kept.schedule.schedule_id)
    made.store.close()


def test_a_schedule_comes_out_as_it_went_in_with_its_first_time(rig: ScheduleRig) -> None:
    timing = Timing(cron="30 8 * * 1-5", time_zone="Europe/Berlin")
    asked = rig.kept(timing, persona_id="p-1", metadata={"mood": "good", "deep": None}, missed=Missed.SKIP)

    found = rig.found(asked).schedule

    assert replace(found, next_run_at=None) == asked
    assert found.next_run_at is not None
    assert found.next_run_at > rig.now()
    assert rig.desk.find("nobody") is None
    assert rig.ours() == []


def test_what_is_over_is_refused_and_leaves_its_key_unused(rig: ScheduleRig) -> None:
    over = Schedule(an_id(), rig.tenant, an_id("s-"), "hello", Timing(at=datetime(2020, 1, 1, tzinfo=UTC)))
    key = a_key()

    with pytest.raises(BadTiming):
        rig.desk.accept(over, key)

    assert rig.desk.find(over.schedule_id) is None
    assert not rig.desk.accept(replace(over, timing=HOURLY), key).replayed


def test_a_repeated_key_gives_the_first_schedule(rig: ScheduleRig) -> None:
    key = a_key()
    first, second = (Schedule(an_id(), rig.tenant, an_id("s-"), "hello", HOURLY) for _ in range(2))

    rig.desk.accept(first, key)
    receipt = rig.desk.accept(second, key)

    assert (receipt.event_id, receipt.replayed) == (first.schedule_id, True)
    assert rig.desk.find(second.schedule_id) is None
    with pytest.raises(KeyReused):
        rig.desk.accept(second, replace(key, body_digest="other"))


def test_a_session_of_another_tenant_does_not_exist(rig: ScheduleRig) -> None:
    message = a_message(tenant="somebody", tenant_named=True)
    rig.store.inbox.accept(message, None)

    with pytest.raises(NotFound):
        rig.kept(session_id=message.session_id)


def test_a_due_time_is_a_message_a_turn_and_a_run_once(rig: ScheduleRig) -> None:
    schedule = rig.kept(metadata={"mood": "good"})
    due_at = rig.age(schedule.schedule_id, 1)
    assert rig.ours() == [schedule.schedule_id]

    ran = rig.due.run(schedule.schedule_id)

    assert ran is not None
    assert ran.outcome is Outcome.RAN
    assert rig.store.types(schedule.session_id) == ["user", "assistant.started"]
    assert [event.type.value for event in ran.events] == ["user", "assistant.started"]
    assert rig.store.row("turn", str(ran.event_id)).state == "queued"
    (run,) = rig.desk.runs(schedule.schedule_id, None, 10)
    assert (run.due_at, run.outcome, run.times, run.event_id) == (due_at, Outcome.RAN, 1, ran.event_id)
    assert rig.due.run(schedule.schedule_id) is None
    assert rig.ours() == []
    following = rig.found(schedule).schedule.next_run_at
    assert following is not None
    assert following > rig.now()


def test_a_time_that_comes_back_sends_nothing_again(rig: ScheduleRig) -> None:
    schedule = rig.kept()
    due_at = rig.age(schedule.schedule_id, 1)
    rig.due.run(schedule.schedule_id)
    rig.plan(schedule.schedule_id, due_at)

    ran = rig.due.run(schedule.schedule_id)

    assert ran is not None
    assert ran.event_id is None
    assert rig.store.types(schedule.session_id) == ["user", "assistant.started"]


def test_twenty_workers_at_once_make_one_turn(rig: ScheduleRig) -> None:
    schedule = rig.kept()
    rig.age(schedule.schedule_id, 1)

    with ThreadPoolExecutor(8) as pool:
        ran = list(pool.map(lambda _: rig.due.run(schedule.schedule_id), range(20)))

    assert Counter(each is None for each in ran) == {True: 19, False: 1}
    assert rig.store.types(schedule.session_id) == ["user", "assistant.started"]


def test_missed_times_run_once_or_not_at_all(rig: ScheduleRig) -> None:
    late, skipped = rig.kept(), rig.kept(missed=Missed.SKIP)
    for schedule in (late, skipped):
        rig.age(schedule.schedule_id, 3 * 3600 + 120)
        rig.due.run(schedule.schedule_id)

    (run,), (other,) = (rig.desk.runs(each.schedule_id, None, 10) for each in (late, skipped))
    assert (run.outcome, other.outcome, other.event_id) == (Outcome.RAN_LATE, Outcome.SKIPPED, None)
    assert run.times >= 3
    assert rig.store.types(late.session_id) == ["user", "assistant.started"]
    assert rig.store.stream.tenant_of(skipped.session_id) is None


def test_what_is_refused_changes_nothing_until_it_is_noted_as_failed(rig: ScheduleRig) -> None:
    schedule = rig.kept()
    due_at = rig.age(schedule.schedule_id, 1)
    rig.store.inbox.accept(a_message(session_id=schedule.session_id, tenant="somebody", tenant_named=True), None)

    with pytest.raises(NotFound):
        rig.due.run(schedule.schedule_id)
    assert rig.ours() == [schedule.schedule_id]
    assert rig.due.fail(schedule.schedule_id, "there is no such session")

    (run,) = rig.desk.runs(schedule.schedule_id, None, 10)
    assert (run.due_at, run.outcome, run.reason) == (due_at, Outcome.FAILED, "there is no such session")
    found = rig.found(schedule).schedule
    assert (found.enabled, found.reason) == (True, "there is no such session")
    assert rig.ours() == []
    assert not rig.due.fail(schedule.schedule_id, "again")


def test_a_schedule_is_changed_under_everybodys_eyes(rig: ScheduleRig) -> None:
    schedule = rig.kept()

    off = rig.desk.change(schedule.schedule_id, lambda before: replace(before, enabled=False, message="other"))

    assert off is not None
    assert (off.schedule.next_run_at, off.schedule.message) == (None, "other")
    assert rig.found(schedule) == off
    assert rig.desk.change("nobody", lambda before: before) is None

    past = Timing(at=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(BadTiming):
        rig.desk.change(schedule.schedule_id, lambda before: replace(before, timing=past, enabled=True))
    assert rig.found(schedule) == off


def test_a_removed_schedule_takes_its_runs_along(rig: ScheduleRig) -> None:
    schedule = rig.kept()
    rig.age(schedule.schedule_id, 1)
    rig.due.run(schedule.schedule_id)

    assert rig.desk.remove(schedule.schedule_id)

    assert not rig.desk.remove(schedule.schedule_id)
    assert rig.desk.runs(schedule.schedule_id, None, 10) == []
    assert rig.due.run(schedule.schedule_id) is None


def test_pages_begin_where_the_last_one_ended(rig: ScheduleRig) -> None:
    made = [rig.kept().schedule_id for _ in range(4)]

    first = rig.desk.page(rig.tenant, None, 3)
    place = (first[-1].created_at, first[-1].schedule.schedule_id)
    second = rig.desk.page(rig.tenant, place, 3)

    assert [kept.schedule.schedule_id for kept in (*first, *second)] == made[::-1]

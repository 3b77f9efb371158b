"""What every `WorkDesk` promises: what is owed or dead is seen with its reason, and a person's deeds are exact."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from app.domain.conversation import Turn
from app.domain.desk import WorkCount, WorkFilter, WorkItem, WorkName, WorkState, place_of_item
from app.domain.leases import MAX_ATTEMPTS
from tests.builders import a_final, a_message, a_record, an_id
from tests.contracts.desk_rig import WorkRig, an_entry, memory_work, postgres_work
from tests.contracts.store_rig import Process


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> Iterator[WorkRig]:
    if request.param == "memory":
        yield memory_work()
        return
    engine: Engine = request.getfixturevalue("engine")
    found = postgres_work(engine)
    yield found
    found.store.close()


@pytest.fixture
def worker(rig: WorkRig) -> Process:
    return rig.store.process()


def message(rig: WorkRig, **fields: Any) -> str:
    said = a_message(**fields)
    rig.store.inbox.accept(said, None)
    return said.event_id


def record(rig: WorkRig) -> str:
    """A record that is owed; its id."""
    topic = an_id("topic-")
    rig.store.owe([a_record(topic)])
    return next(item.id for item in rig.desk.items(WorkFilter(WorkName.RECORD), None, 100) if item.topic == topic)


def claimed(worker: Process, event_id: str) -> Turn:
    turn = worker.turns.claim(event_id)
    assert turn is not None
    return turn


def dead_memory(rig: WorkRig, worker: Process, reason: str = "it is wrong") -> str:
    event_id = message(rig)
    for owed in worker.memories.claim_due(10):
        if owed.memory.event_id == event_id:
            worker.memories.bury(owed, reason)
        else:
            worker.memories.release([owed])
    return event_id


def items(rig: WorkRig, kind: WorkName | None = None, state: WorkState | None = None) -> list[WorkItem]:
    return rig.desk.items(WorkFilter(kind, state), None, 100)


def item(rig: WorkRig, kind: WorkName, key: str) -> WorkItem:
    found = rig.desk.item(kind, key)
    assert found is not None
    return found


def counts(rig: WorkRig) -> dict[str, WorkCount]:
    return {count.kind: count for count in rig.desk.counts()}


def test_every_kind_is_counted_even_when_nothing_is_owed(rig: WorkRig) -> None:
    assert [count.kind for count in rig.desk.counts()] == list(WorkName)
    for count in rig.desk.counts():
        assert (count.owed, count.waiting, count.leased, count.dead, count.oldest_age_seconds) == (0, 0, 0, 0, 0)
    assert items(rig) == []


def test_rows_are_counted_by_how_they_stand(rig: WorkRig, worker: Process) -> None:
    turn = message(rig)
    dead_memory(rig, worker)
    worker.memories.postpone(worker.memories.claim_due(1), 60, "SomaBrain is down", outage=True)
    message(rig)
    worker.memories.claim_due(1)
    message(rig)
    claimed(worker, turn)

    found = counts(rig)

    assert (found["turn"].owed, found["turn"].leased) == (3, 1)
    memories = found["memory"]
    assert (memories.owed, memories.waiting, memories.leased, memories.dead) == (1, 1, 1, 1)
    assert memories.oldest_age_seconds >= 0


def test_a_row_shows_why_it_waits(rig: WorkRig, worker: Process) -> None:
    event_id = message(rig)
    worker.memories.postpone(worker.memories.claim_due(1), 60, "SomaBrain is down", outage=True)

    (found,) = items(rig, WorkName.MEMORY)

    assert (found.id, found.kind, found.state, found.reason) == (event_id, "memory", "waiting", "SomaBrain is down")
    assert (found.attempts, found.failures, found.lease_owner, found.tenant) == (1, 1, None, "t1")
    assert found.session_id
    assert found.run_at > found.created_at


def test_a_leased_row_shows_who_has_it(rig: WorkRig, worker: Process) -> None:
    event_id = message(rig)
    claimed(worker, event_id)

    assert item(rig, WorkName.TURN, event_id).state == WorkState.LEASED
    assert item(rig, WorkName.TURN, event_id).lease_owner == worker.owner
    rig.store.pass_time(31)
    assert item(rig, WorkName.TURN, event_id).state == WorkState.OWED


def test_the_dead_come_first_and_each_part_oldest_first(rig: WorkRig, worker: Process) -> None:
    dead = [dead_memory(rig, worker, f"reason {number}") for number in range(2)]
    owed = items(rig, None, WorkState.OWED)

    found = items(rig)

    assert [one.id for one in found[:2]] == dead
    assert [one.reason for one in found[:2]] == ["reason 0", "reason 1"]
    assert found[2:] == owed
    assert [one.created_at for one in owed] == sorted(one.created_at for one in owed)


def test_pages_have_no_gap_and_no_repeat(rig: WorkRig, worker: Process) -> None:
    for _ in range(3):
        dead_memory(rig, worker)
        message(rig)
        record(rig)
        worker.memories.claim_due(10)
    every = items(rig)
    assert len(every) == 15

    paged: list[WorkItem] = []
    while page := rig.desk.items(WorkFilter(), place_of_item(paged[-1]) if paged else None, 4):
        paged += page

    assert paged == every


def test_kind_and_state_filter(rig: WorkRig, worker: Process) -> None:
    dead = dead_memory(rig, worker)
    key = record(rig)

    assert [one.id for one in items(rig, state=WorkState.DEAD)] == [dead]
    assert [one.id for one in items(rig, WorkName.RECORD)] == [key]
    assert items(rig, WorkName.RECORD, WorkState.DEAD) == []
    assert {one.kind for one in items(rig, state=WorkState.OWED)} == {"turn", "record"}
    assert items(rig, state=WorkState.LEASED) == items(rig, state=WorkState.WAITING) == []


def test_a_finished_row_can_be_looked_at_and_is_in_no_list(rig: WorkRig, worker: Process) -> None:
    event_id = message(rig)
    worker.turns.finish(claimed(worker, event_id), a_final(event_id), "done", None)

    assert item(rig, WorkName.TURN, event_id).state == "done"
    assert items(rig, WorkName.TURN) == []


@pytest.mark.parametrize("key", ["nothing", "-1", "1.5", "²", "9" * 30, "999999999999"])
@pytest.mark.parametrize("kind", WorkName)
def test_what_is_unknown_is_nothing(rig: WorkRig, kind: WorkName, key: str) -> None:
    assert rig.desk.item(kind, key) is None
    assert not rig.desk.hurry(kind, key, an_entry())
    assert not rig.desk.revive(kind, key, an_entry())
    assert not rig.desk.discard(kind, key, an_entry())


def test_a_waiting_row_can_be_hurried(rig: WorkRig, worker: Process) -> None:
    event_id, entry = message(rig), an_entry("work.retry")
    worker.memories.postpone(worker.memories.claim_due(1), 3600, "SomaBrain is down", outage=True)
    assert worker.memories.claim_due(1) == []

    assert rig.desk.hurry(WorkName.MEMORY, event_id, entry)

    assert item(rig, WorkName.MEMORY, event_id).state == WorkState.OWED
    assert [owed.memory.event_id for owed in worker.memories.claim_due(1)] == [event_id]
    assert rig.audit(entry) == [entry]


def test_a_row_in_a_workers_hands_is_not_hurried(rig: WorkRig, worker: Process) -> None:
    event_id, entry = message(rig), an_entry()
    turn = claimed(worker, event_id)

    assert not rig.desk.hurry(WorkName.TURN, event_id, entry)

    assert rig.audit(entry) == []
    worker.turns.finish(turn, a_final(event_id), "done", None)
    assert not rig.desk.hurry(WorkName.TURN, event_id, entry)


def test_a_revived_memory_has_as_many_lives_as_a_new_one(rig: WorkRig) -> None:
    event_id = message(rig)
    for _ in range(MAX_ATTEMPTS + 1):
        rig.store.process(lease_seconds=1).memories.claim_due(10)
        rig.store.pass_time(2)
    assert item(rig, WorkName.MEMORY, event_id).state == WorkState.DEAD

    assert rig.desk.revive(WorkName.MEMORY, event_id, an_entry())

    revived = item(rig, WorkName.MEMORY, event_id)
    assert (revived.state, revived.failures, revived.attempts) == (WorkState.OWED, 0, MAX_ATTEMPTS + 1)
    for _ in range(MAX_ATTEMPTS):
        assert len(rig.store.process(lease_seconds=1).memories.claim_due(10)) == 1
        rig.store.pass_time(2)
    assert rig.store.process().memories.claim_due(10) == []
    assert item(rig, WorkName.MEMORY, event_id).state == WorkState.DEAD


def test_a_record_can_be_revived_and_a_living_row_cannot(rig: WorkRig, worker: Process) -> None:
    key = record(rig)
    assert not rig.desk.revive(WorkName.RECORD, key, an_entry())
    (owed,) = worker.records.claim_due(10)
    worker.records.bury(owed, "too large")

    assert rig.desk.revive(WorkName.RECORD, key, an_entry())

    assert len(worker.records.claim_due(10)) == 1
    assert counts(rig)["record"].dead == 0


def test_an_ended_turn_gets_no_second_life(rig: WorkRig) -> None:
    event_id = message(rig)
    for _ in range(MAX_ATTEMPTS + 1):
        rig.store.process(lease_seconds=1).turns.claim(event_id)
        rig.store.pass_time(2)
    assert item(rig, WorkName.TURN, event_id).state == WorkState.DEAD
    if rig.engine is not None:
        with pytest.raises(IntegrityError):
            rig.desk.revive(WorkName.TURN, event_id, an_entry())

    assert rig.desk.discard(WorkName.TURN, event_id, an_entry())
    assert item(rig, WorkName.TURN, event_id).state == "discarded"


def test_only_what_is_dead_is_discarded_and_stays_so(rig: WorkRig, worker: Process) -> None:
    living = message(rig)
    worker.memories.claim_due(10)
    event_id, entry = dead_memory(rig, worker), an_entry("work.discard")

    assert not rig.desk.discard(WorkName.MEMORY, living, an_entry())
    assert rig.desk.discard(WorkName.MEMORY, event_id, entry)
    assert not rig.desk.discard(WorkName.MEMORY, event_id, an_entry())
    assert not rig.desk.revive(WorkName.MEMORY, event_id, an_entry())

    assert rig.audit(entry) == [entry]
    assert items(rig, WorkName.MEMORY, WorkState.DEAD) == []

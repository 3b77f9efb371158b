"""What every `MemoryOutbox` promises: a memory is owed until SomaBrain has it, and then exactly one record is."""

from collections.abc import Iterable

import pytest

from app.domain.leases import MAX_ATTEMPTS
from app.domain.ports import OwedMemory
from tests.builders import a_message, a_receipt
from tests.conftest import eventually
from tests.contracts.store_rig import TOPIC, Process, StoreRig


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


@pytest.fixture
def other(store: StoreRig) -> Process:
    return store.process()


def owed(store: StoreRig, text: str = "hello") -> str:
    message = a_message(text, metadata={"universe_id": "u-1"}, traceparent="00-aa-bb-01")
    store.inbox.accept(message, None)
    return message.event_id


def ids(claimed: Iterable[OwedMemory]) -> list[str]:
    return [item.memory.event_id for item in claimed]


def test_due_memories_come_oldest_first_and_no_more_than_asked(store: StoreRig, worker: Process) -> None:
    first, second, third = owed(store), owed(store), owed(store)

    assert ids(worker.memories.claim_due(2)) == [first, second]
    assert ids(worker.memories.claim_due(10)) == [third]
    assert not worker.memories.claim_due(10)


def test_a_memory_comes_out_as_it_went_in(store: StoreRig, worker: Process) -> None:
    event_id = owed(store, "héllo \U0001f600")

    (item,) = worker.memories.claim_due(10)

    memory = item.memory
    assert (memory.place.tenant, memory.place.namespace, memory.place.universe) == ("t1", "wm", "u-1")
    assert (memory.role, memory.traceparent, memory.payload["content"]) == ("user", "00-aa-bb-01", "héllo \U0001f600")
    assert memory.payload["idempotency_key"] == memory.idempotency_key
    assert (item.lease.owner, item.lease.attempts, memory.event_id) == (worker.owner, 1, event_id)


def test_a_synced_memory_owes_exactly_one_record(store: StoreRig, worker: Process) -> None:
    event_id = owed(store)
    (item,) = worker.memories.claim_due(10)

    assert worker.memories.synced([(item, a_receipt())]) == [event_id]
    assert worker.memories.synced([(item, a_receipt())]) == []

    assert store.row("memory", event_id).state == "synced"
    ((state, payload, _),) = store.records_of(TOPIC, f"{event_id}:1")
    assert state == "pending"
    assert (payload["event_id"], payload["version"], payload["type"]) == (event_id, 1, "memory.write")
    assert payload["result"] == {"coord": [0.1, 0.2, 0.3], "trace_id": None, "request_id": "r-1"}


def test_the_record_goes_to_the_partition_of_the_session(store: StoreRig, worker: Process) -> None:
    owed(store)
    (item,) = worker.memories.claim_due(10)
    worker.memories.synced([(item, a_receipt())])

    (record,) = worker.records.claim_due(10)

    assert record.record.partition_key == item.memory.session_id
    assert record.record.headers["event_id"] == item.memory.event_id
    assert record.record.headers["traceparent"] == "00-aa-bb-01"


def test_what_a_zombie_brings_is_dropped_and_owes_nothing(store: StoreRig, worker: Process, other: Process) -> None:
    event_id = owed(store)
    (old,) = worker.memories.claim_due(10)
    store.pass_time(31)
    (new,) = other.memories.claim_due(10)

    assert worker.memories.synced([(old, a_receipt())]) == []
    worker.memories.bury(old, "wrong")
    worker.memories.postpone([old], 600, "away", outage=True)
    worker.memories.release([old])

    assert store.row("memory", event_id).state == "pending"
    assert not store.records_of(TOPIC, f"{event_id}:1")
    assert not other.memories.claim_due(10), "the zombie gave back what was not its own"
    assert other.memories.synced([(new, a_receipt())]) == [event_id]


def test_a_batch_in_which_some_were_lost_keeps_the_others(store: StoreRig, worker: Process, other: Process) -> None:
    lost = owed(store)
    (old,) = worker.memories.claim_due(10)
    store.pass_time(31)
    other.memories.claim_due(10)
    kept = owed(store)
    (mine,) = worker.memories.claim_due(10)

    assert worker.memories.synced([(old, a_receipt()), (mine, a_receipt())]) == [kept]

    assert len(store.records_of(TOPIC, f"{kept}:1")) == 1
    assert not store.records_of(TOPIC, f"{lost}:1")


def test_a_lease_that_ran_out_frees_the_memory(store: StoreRig, worker: Process, other: Process) -> None:
    owed(store)
    worker.memories.claim_due(10)
    store.pass_time(29)
    assert not other.memories.claim_due(10)

    store.pass_time(2)

    assert other.memories.claim_due(10)[0].lease.attempts == 2


def test_a_dead_owners_memories_are_free_at_once(store: StoreRig, worker: Process, other: Process) -> None:
    event_id = owed(store)
    worker.appear().memories.claim_due(10)
    assert store.sweep()["memory"] == 0
    worker.die()

    eventually(lambda: store.sweep()["memory"] == 1)

    assert ids(other.memories.claim_due(10)) == [event_id]


def test_a_postponed_memory_waits_its_time(store: StoreRig, worker: Process) -> None:
    event_id = owed(store)
    worker.memories.postpone(worker.memories.claim_due(10), 60, "SomaBrain asked to wait", outage=False)
    store.pass_time(59)
    assert not worker.memories.claim_due(10)
    assert not worker.memories.waits_for_peer()
    assert store.row("memory", event_id).last_error == "SomaBrain asked to wait"

    store.pass_time(2)

    assert worker.memories.claim_due(10)[0].lease.failures == 1


def test_an_outage_that_ends_makes_everything_due(store: StoreRig, worker: Process) -> None:
    wished, first, second = owed(store), owed(store), owed(store)
    claimed = worker.memories.claim_due(10)
    worker.memories.postpone(claimed[:1], 60, "asked to wait", outage=False)
    worker.memories.postpone(claimed[1:], 60, "away", outage=True)
    assert worker.memories.waits_for_peer()

    assert worker.memories.wake() == 2

    assert ids(worker.memories.claim_due(10)) == [first, second]
    assert not worker.memories.waits_for_peer() or worker.memories.wake() == 0
    assert store.row("memory", wished).attempts == 1


def test_a_released_memory_is_due_at_once_and_has_not_failed(store: StoreRig, worker: Process) -> None:
    owed(store)
    worker.memories.release(worker.memories.claim_due(10))

    (again,) = worker.memories.claim_due(10)

    assert (again.lease.attempts, again.lease.failures) == (2, 0)


def test_a_buried_memory_says_why_and_never_comes_again(store: StoreRig, worker: Process) -> None:
    event_id = owed(store)
    worker.memories.bury(worker.memories.claim_due(10)[0], "SomaBrain says 422")
    store.pass_time(100_000)

    assert not worker.memories.claim_due(10)
    row = store.row("memory", event_id)
    assert (row.state, row.last_error) == ("dead", "SomaBrain says 422")


def test_an_outage_of_any_length_buries_nothing(store: StoreRig, worker: Process) -> None:
    event_id = owed(store)
    for _ in range(3 * MAX_ATTEMPTS):
        worker.memories.postpone(worker.memories.claim_due(10), 1, "away", outage=True)
        store.pass_time(2)

    assert ids(worker.memories.claim_due(10)) == [event_id]


def test_a_memory_that_killed_five_workers_is_set_aside(store: StoreRig, worker: Process) -> None:
    event_id, innocent = owed(store), ""
    for _ in range(MAX_ATTEMPTS):
        assert worker.memories.claim_due(10)
        store.pass_time(31)
    innocent = owed(store)

    assert not worker.memories.claim_due(10)
    assert ids(worker.memories.claim_due(10)) == [innocent]

    assert store.row("memory", event_id).state == "dead"
    assert "died" in (store.row("memory", event_id).last_error or "")


def test_a_memory_that_kills_its_workers_takes_no_neighbour_along(store: StoreRig, worker: Process) -> None:
    killer, *innocent = [owed(store) for _ in range(4)]
    delivered: list[str] = []

    for _ in range(12):
        claimed = worker.memories.claim_due(10)
        if killer in ids(claimed):
            store.pass_time(31)
        else:
            delivered += worker.memories.synced([(item, a_receipt()) for item in claimed])

    assert sorted(delivered) == sorted(innocent)
    assert store.row("memory", killer).state == "dead"


def test_what_a_living_worker_could_not_end_is_given_back_and_no_death(store: StoreRig, worker: Process) -> None:
    event_id = owed(store)
    claimed = worker.appear().memories.claim_due(10)

    worker.memories.survived(claimed)

    eventually(lambda: ids(worker.memories.claim_due(10)) == [event_id])
    assert store.deaths("memory", event_id) == 1  # the present claim, which is not over


def test_a_delivery_that_came_too_late_is_no_death(store: StoreRig, worker: Process, other: Process) -> None:
    event_id = owed(store)
    late = worker.appear().memories.claim_due(10)
    store.pass_time(31)
    assert ids(other.memories.claim_due(10)) == [event_id]
    assert store.deaths("memory", event_id) == 2

    worker.memories.synced([(late[0], a_receipt())])

    eventually(lambda: store.deaths("memory", event_id) == 1)


def test_a_long_backlog_is_woken_in_portions_the_oldest_first(store: StoreRig, worker: Process) -> None:
    first, second, third = owed(store), owed(store), owed(store)
    worker.memories.postpone(worker.memories.claim_due(10), 60, "away", outage=True)

    assert worker.memories.wake(2) == 2

    assert ids(worker.memories.claim_due(10)) == [first, second]
    assert worker.memories.waits_for_peer()
    assert worker.memories.wake(2) == 1
    assert ids(worker.memories.claim_due(10)) == [third]

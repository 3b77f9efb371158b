"""What every `MessageOutbox` promises: a record is owed until Kafka has acknowledged it, and is there once."""

import pytest

from app.domain.leases import MAX_ATTEMPTS
from app.domain.ports import Sent
from tests.builders import a_record, an_id
from tests.conftest import eventually
from tests.contracts.store_rig import Process, StoreRig


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


@pytest.fixture
def other(store: StoreRig) -> Process:
    return store.process()


def test_a_record_comes_out_as_it_went_in(store: StoreRig, worker: Process) -> None:
    record = a_record(payload={"text": "héllo", "n": [1, 2.5, None]}, headers={"type": "x"}, session_id="s-1")
    store.owe([record])

    (item,) = worker.records.claim_due(10)

    assert item.record == record
    assert item.lease.attempts == 1


def test_records_come_in_the_order_they_were_owed(store: StoreRig, worker: Process) -> None:
    records = [a_record(payload={"n": number}) for number in range(5)]
    store.owe(records)

    first, second = worker.records.claim_due(3), worker.records.claim_due(3)

    assert [item.record for item in [*first, *second]] == records


def test_a_double_in_its_topic_is_kept_once_and_the_first_stays(store: StoreRig) -> None:
    key, topic = an_id(), an_id("topic-")
    store.owe([a_record(topic, key, payload={"n": 1})])
    store.owe([a_record(topic, key, payload={"n": 2}), a_record(topic, an_id())])
    store.owe([a_record(an_id("topic-"), key)])

    assert [payload for _, payload, _ in store.records_of(topic, key)] == [{"n": 1}]


def test_a_sent_record_remembers_where_kafka_put_it(store: StoreRig, worker: Process) -> None:
    one, two = a_record(), a_record()
    store.owe([one, two])
    claimed = worker.records.claim_due(10)

    worker.records.sent([(claimed[0], Sent(2, 17)), (claimed[1], Sent(0, 3))])

    assert store.records_of(one.topic, one.dedupe_key)[0][::2] == ("sent", Sent(2, 17))
    assert store.records_of(two.topic, two.dedupe_key)[0][::2] == ("sent", Sent(0, 3))
    assert not worker.records.claim_due(10)


def test_what_a_zombie_brings_changes_nothing(store: StoreRig, worker: Process, other: Process) -> None:
    record = a_record()
    store.owe([record])
    (old,) = worker.records.claim_due(10)
    store.pass_time(31)
    (new,) = other.records.claim_due(10)

    worker.records.sent([(old, Sent(0, 1))])
    worker.records.bury(old, "wrong")
    worker.records.postpone([old], 600, "away", outage=True)
    assert store.records_of(record.topic, record.dedupe_key)[0][0] == "pending"
    other.records.sent([(new, Sent(1, 8))])
    worker.records.sent([(old, Sent(0, 9))])

    assert store.records_of(record.topic, record.dedupe_key)[0][::2] == ("sent", Sent(1, 8))


def test_a_lease_that_ran_out_and_a_dead_owner_free_the_record(store: StoreRig, worker: Process) -> None:
    store.owe([a_record()])
    worker.records.claim_due(10)
    assert not store.process().records.claim_due(10)
    store.pass_time(31)
    second = store.process().appear()
    assert second.records.claim_due(10)[0].lease.attempts == 2
    second.die()

    eventually(lambda: store.sweep()["record"] == 1)

    assert store.process().records.claim_due(10)[0].lease.attempts == 3


def test_a_postponed_record_is_due_after_its_pause(store: StoreRig, worker: Process) -> None:
    store.owe([a_record()])
    worker.records.postpone(worker.records.claim_due(10), 5, "Kafka does not acknowledge", outage=True)
    assert not worker.records.claim_due(10)

    store.pass_time(6)

    (again,) = worker.records.claim_due(10)
    assert again.lease.failures == 1


def test_an_outage_of_any_length_buries_nothing(store: StoreRig, worker: Process) -> None:
    store.owe([a_record()])
    for _ in range(3 * MAX_ATTEMPTS):
        worker.records.postpone(worker.records.claim_due(10), 1, "away", outage=True)
        store.pass_time(2)

    assert worker.records.claim_due(10)


def test_a_buried_record_says_why(store: StoreRig, worker: Process) -> None:
    store.owe([a_record()])
    (item,) = worker.records.claim_due(10)
    worker.records.bury(item, "too large")
    store.pass_time(100_000)

    assert not worker.records.claim_due(10)
    assert store.row("record", item.lease.key).last_error == "too large"


def test_a_record_that_killed_five_workers_is_set_aside(store: StoreRig, worker: Process) -> None:
    record = a_record()
    store.owe([record])
    for _ in range(MAX_ATTEMPTS):
        assert worker.records.claim_due(10)
        store.pass_time(31)

    assert not worker.records.claim_due(10)
    assert store.records_of(record.topic, record.dedupe_key)[0][0] == "dead"

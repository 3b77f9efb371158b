"""What every `WalWriter` and `WalReader` promise: an outcome per record, raw bytes in order, places from Postgres."""

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.reader import KafkaWalReader
from app.adapters.kafka.writer import KafkaWalWriter
from app.domain.errors import Rejected, WalUnavailable
from app.domain.log import WalBatch, WalPartition, WalPlace
from app.domain.memory import WalRecord
from app.domain.ports import Sent, WalReader, WalWriter
from app.settings import Settings
from devstack.stack import Stack
from tests.builders import a_record, an_id
from tests.conftest import eventually
from tests.fakes import InMemoryWal


class WalRig(ABC):
    """A topic of three partitions, its writer, a reader whose places are in `places`, and strangers' bytes."""

    writer: WalWriter
    reader: Any

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.places: dict[WalPartition, int] = {}
        self.taken = 0

    def take(self, partition: WalPartition) -> WalPlace:
        self.taken += 1
        return WalPlace(self.places.get(partition, 0), self.taken)

    @abstractmethod
    def scribble(self, value: bytes) -> None:
        """Put bytes into the log that no writer of ours would."""

    def close(self) -> None:
        """Leave the log."""
        self.reader.close()

    def records(self, count: int, **fields: Any) -> list[WalRecord]:
        return [a_record(self.topic, payload={"n": number}, **fields) for number in range(count)]


class MemoryWalRig(WalRig):
    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.wal = InMemoryWal(topics={topic})
        self.writer = self.wal
        self.reader = self.wal.slot(self.take, topic)

    def scribble(self, value: bytes) -> None:
        self.wal.append(self.topic, b"k", value)


class KafkaRig(WalRig):
    def __init__(self, topic: str, settings: Settings) -> None:
        super().__init__(topic)
        self.options = connection_options(settings)
        admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
        small = NewTopic(f"{topic}.small", 1, 1, topic_configs={"max.message.bytes": "5000"})
        admin.create_topics([NewTopic(topic, 3, 1), small])
        admin.close()
        self.writer = self._kafka_writer = KafkaWalWriter(self.options)
        self.reader = KafkaWalReader(self.options, topic, an_id("group-"), self.take)

    def another_slot(self, patience: int = 5, **options: Any) -> KafkaWalReader:
        return KafkaWalReader(self.options | options, self.topic, an_id("group-"), self.take, patience)

    def close(self) -> None:
        super().close()
        self._kafka_writer.close()

    def scribble(self, value: bytes) -> None:
        producer = KafkaProducer(bootstrap_servers=self.options["bootstrap_servers"])
        producer.send(self.topic, value, key=b"k").get(10)
        producer.close()


@pytest.fixture
def kafka(settings: Settings) -> Iterator[KafkaRig]:
    made = KafkaRig(an_id("wal-"), settings)
    yield made
    made.close()


@pytest.fixture(params=["memory", "kafka"])
def rig(request: pytest.FixtureRequest) -> Iterator[WalRig]:
    topic = an_id("wal-")
    made: WalRig = (
        MemoryWalRig(topic) if request.param == "memory" else KafkaRig(topic, request.getfixturevalue("settings"))
    )
    yield made
    made.close()


def read(rig: WalRig, count: int) -> list[WalBatch]:
    """Batches until so many records have come."""
    batches: list[WalBatch] = []

    def enough() -> bool:
        batches.extend(rig.reader.poll(0.2, 500))
        return sum(len(batch.records) for batch in batches) >= count

    eventually(enough)
    return batches


def test_every_record_has_its_outcome_in_order(rig: WalRig) -> None:
    outcomes = rig.writer.publish(rig.records(20, partition_key="one"))

    places = [outcome for outcome in outcomes if isinstance(outcome, Sent)]
    assert len(places) == 20
    assert len({place.partition for place in places}) == 1
    assert [place.offset for place in places] == list(range(20))


def test_an_unknown_topic_waits_and_does_not_spoil_the_others(rig: WalRig) -> None:
    good, bad = rig.records(1)[0], a_record(an_id("nowhere-"))

    first, second = rig.writer.publish([bad, good])

    assert isinstance(first, WalUnavailable)
    assert isinstance(second, Sent)


def test_a_record_too_large_for_kafka_is_rejected_for_good(rig: WalRig) -> None:
    huge = a_record(rig.topic, payload={"text": "x" * 2_000_000})

    first, second = rig.writer.publish([huge, *rig.records(1)])

    assert isinstance(first, Rejected)
    assert isinstance(second, Sent)


def test_a_record_that_the_broker_refuses_does_not_take_its_neighbours_with_it(kafka: KafkaRig) -> None:
    topic = f"{kafka.topic}.small"
    records = [a_record(topic, payload={"text": "x" * size}) for size in (10, 20_000, 20, 30)]

    outcomes = kafka.writer.publish(records)

    assert [type(outcome) for outcome in outcomes] == [Sent, Rejected, Sent, Sent]


def test_what_was_written_is_read_as_bytes_in_order(rig: WalRig) -> None:
    sent = rig.writer.publish(rig.records(30))
    rig.scribble(b"\xff not json")

    batches = read(rig, 31)

    values = [record.value for batch in batches for record in batch.records]
    assert b"\xff not json" in values
    assert len(values) == 31
    for batch in batches:
        assert [record.offset for record in batch.records] == list(range(batch.start, batch.end))
    ends = {batch.partition.number: batch.end for batch in batches}
    assert sum(ends.values()) == 31
    assert all(ends[place.partition] > place.offset for place in sent if isinstance(place, Sent))


def test_reading_begins_where_postgres_says(rig: WalRig) -> None:
    rig.writer.publish(rig.records(10, partition_key="one"))
    where = next(o.partition for o in rig.writer.publish(rig.records(1, partition_key="one")) if isinstance(o, Sent))
    rig.places[WalPartition(rig.topic, where)] = 8

    batches = read(rig, 3)

    assert batches[0].start == 8
    assert batches[-1].end == 11


def test_a_commit_to_kafka_decides_nothing(rig: WalRig) -> None:
    rig.writer.publish(rig.records(5, partition_key="one"))
    for batch in read(rig, 5):
        rig.reader.commit(batch)
    rig.reader.close()

    again = read(rig, 5)

    assert again[0].start == 0


def test_rewinding_repeats_from_what_postgres_knows(rig: WalRig) -> None:
    rig.writer.publish(rig.records(6, partition_key="one"))
    batches = read(rig, 6)
    rig.places[batches[0].partition] = 4

    rig.reader.rewind()

    again = read(rig, 2)
    assert again[0].start == 4
    assert [record.offset for batch in again for record in batch.records] == [4, 5]


def test_no_more_than_asked_comes_at_once(rig: WalRig) -> None:
    rig.writer.publish(rig.records(9, partition_key="one"))
    found: list[WalBatch] = eventually(lambda: rig.reader.poll(0.2, 4))

    assert 1 <= sum(len(batch.records) for batch in found) <= 4


def test_an_idle_log_is_no_outage(rig: WalRig) -> None:
    assert rig.reader.poll(0.05, 10) == []
    assert rig.reader.poll(0.05, 10) == []


@pytest.mark.parametrize("milliseconds", range(20, 220, 20))
def test_a_poll_that_ends_in_the_middle_of_joining_loses_nothing(kafka: KafkaRig, milliseconds: int) -> None:
    kafka.writer.publish(kafka.records(1))
    slot = kafka.another_slot()
    try:
        assert slot.poll(milliseconds / 1000, 10) or eventually(lambda: slot.poll(0.2, 10))
    finally:
        slot.close()


def test_a_consumer_that_stands_still_is_given_up_for_a_new_one(kafka: KafkaRig) -> None:
    slot = kafka.another_slot(patience=1)
    try:
        kafka.writer.publish(kafka.records(1))
        eventually(lambda: slot.poll(0.2, 10))
        stalled = slot._consumer
        stalled.pause(*stalled.assignment())
        kafka.writer.publish(kafka.records(1))

        with pytest.raises(WalUnavailable, match="does not move"):
            eventually(lambda: slot.poll(0.2, 10))

        assert eventually(lambda: slot.poll(0.2, 10))
    finally:
        slot.close()


def test_a_log_that_stands_still_costs_no_thread_and_no_file_however_often_it_is_tried(
    kafka: KafkaRig, servers: Stack
) -> None:
    hasty = {"bootstrap_timeout_ms": 300}
    slot, writer = kafka.another_slot(**hasty), KafkaWalWriter(kafka.options | hasty)
    kafka.writer.publish(kafka.records(1))
    eventually(lambda: slot.poll(0.2, 10))
    before = _held()
    servers.freeze("kafka")
    try:
        for _ in range(4):
            with pytest.raises(WalUnavailable):
                eventually(lambda: slot.poll(0.2, 10))
            assert isinstance(writer.publish(kafka.records(1))[0], WalUnavailable)
        while_away = _held()
    finally:
        servers.thaw("kafka")

    assert while_away[0] <= before[0], "threads"
    assert while_away[1] <= before[1], "open files"
    eventually(lambda: isinstance(kafka.writer.publish(kafka.records(1))[0], Sent))
    slot.close()
    writer.close()


def _held() -> tuple[int, int]:
    gc.collect()
    process = psutil.Process()
    return process.num_threads(), process.num_fds()


def test_a_slot_with_nothing_to_read_is_left_alone(kafka: KafkaRig) -> None:
    slot = kafka.another_slot(patience=2)
    try:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert slot.poll(0.2, 10) == []
    finally:
        slot.close()


def satisfies_the_ports(wal: InMemoryWal) -> tuple[WalWriter, WalReader]:
    """For the type checker."""
    return wal, wal.slot(lambda _: WalPlace(0, 1))

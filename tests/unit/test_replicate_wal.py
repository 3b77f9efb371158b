"""The bridge from the log to the replica: whatever breaks, every record ends up in it once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.errors import StoreUnavailable, WalUnavailable
from app.domain.log import WalBatch, WalPartition, WalPlace
from app.domain.wal import Poison, ReplicaRow
from app.services.replicate_wal import Bridge, replicate_slice
from tests.builders import an_id, wal_bytes
from tests.fakes import InMemoryReplica, InMemoryWal, RecordingBroadcast, RecordingNotes


class Stage:
    """A log, a replica, and a slot between them."""

    def __init__(self, batch: int = 500) -> None:
        self.wal = InMemoryWal()
        self.clock = self.wal.clock
        self.replica = InMemoryReplica(self.clock)
        self.reader = self.wal.slot(self.replica.take)
        self.broadcast, self.notes = RecordingBroadcast(), RecordingNotes()
        self.counted: list[tuple[int, int, int, float]] = []
        self.bridge = Bridge(
            self.reader, self.replica, self.broadcast, self.clock, self.notes,
            lambda *figures: self.counted.append(figures), 2.0, batch,
        )  # fmt: skip

    def write(self, *values: bytes, key: bytes = b"one") -> None:
        for value in values:
            self.wal.append("memory.wal", key, value)

    def totals(self) -> tuple[int, int, int]:
        return (
            sum(ok for ok, _, _, _ in self.counted),
            sum(double for _, double, _, _ in self.counted),
            sum(dead for _, _, dead, _ in self.counted),
        )


def test_records_become_rows_and_watchers_hear_of_it() -> None:
    stage = Stage()
    event_id = an_id()
    stage.write(wal_bytes(event_id, session_id="s-9"))

    assert replicate_slice(stage.bridge) == 1

    assert stage.replica.rows[event_id].tenant == "t1"
    assert stage.broadcast.shown["s-9"][0]["metadata"] == {event_id: "replicated"}
    assert stage.notes.last["kafka"] == "ok"
    assert stage.reader.committed
    assert stage.totals() == (1, 0, 0)


def test_a_slice_ends_after_its_time_even_when_nothing_comes() -> None:
    stage = Stage()
    began = stage.clock.monotonic()

    assert replicate_slice(stage.bridge) == 0

    assert stage.clock.monotonic() - began <= 2.5


def test_doubles_and_poison_are_counted_and_passed() -> None:
    stage = Stage()
    event_id = an_id()
    stage.write(wal_bytes(event_id), b"poison", wal_bytes(event_id), wal_bytes(), b"")

    assert replicate_slice(stage.bridge) == 5

    assert stage.totals() == (2, 1, 2)
    assert len(stage.replica.rows) == 2


def test_lag_is_the_age_of_the_last_record_and_never_below_zero() -> None:
    stage = Stage()
    stage.write(wal_bytes())
    stage.clock.advance(3)
    replicate_slice(stage.bridge)
    stage.clock._start -= timedelta(seconds=100)
    stage.write(wal_bytes())
    stage.clock._start -= timedelta(seconds=100)
    replicate_slice(stage.bridge)

    assert [lag for _, _, _, lag in stage.counted] == [3.0, 0.0]


def test_an_outage_of_kafka_is_said_and_nothing_is_lost() -> None:
    stage = Stage()
    stage.write(wal_bytes())
    stage.wal.down = True
    with pytest.raises(WalUnavailable):
        replicate_slice(stage.bridge)
    assert stage.notes.last["kafka"] == "down"

    stage.wal.down = False

    assert replicate_slice(stage.bridge) == 1


@pytest.mark.parametrize("away", ["Kafka", "Postgres"])
def test_an_outage_costs_about_a_try_a_second_however_often_it_is_rung_for(away: str) -> None:
    stage = Stage()
    stage.write(wal_bytes())
    stage.wal.down = away == "Kafka"
    stage.reader.take = _unanswered
    for _ in range(10):
        with pytest.raises(WalUnavailable if away == "Kafka" else StoreUnavailable):
            replicate_slice(stage.bridge)

    assert 10 <= stage.clock.monotonic() <= 12


def test_a_process_that_has_to_end_does_not_sit_out_an_outage() -> None:
    stage = Stage()
    stage.write(wal_bytes())
    stage.reader.take = _unanswered
    with pytest.raises(StoreUnavailable):
        replicate_slice(replace(stage.bridge, stopping=Asked(1)))

    assert stage.clock.monotonic() == 0


class Asked:
    """Says no so often, and then always yes."""

    def __init__(self, noes: int) -> None:
        self._noes = noes

    def __call__(self) -> bool:
        self._noes -= 1
        return self._noes < 0


def _unanswered(_partition: WalPartition) -> WalPlace:
    raise StoreUnavailable("Postgres is not answering")


class BreakingReplica(InMemoryReplica):
    """Fails once before or once after it has stored."""

    fails: str = ""

    def store(self, batch: WalBatch, good: Sequence[ReplicaRow], bad: Sequence[Poison]) -> list[ReplicaRow]:
        fails, self.fails = self.fails, ""
        if fails == "before":
            raise StoreUnavailable("Postgres is not answering")
        changed = super().store(batch, good, bad)
        if fails == "after":
            raise StoreUnavailable("Postgres broke the connection; whether it committed is unknown")
        return changed


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_that_broke_is_repeated_without_harm(moment: str) -> None:
    stage = Stage(batch=2)
    replica = BreakingReplica(stage.clock)
    stage.replica = replica
    stage.reader.take = replica.take
    stage.bridge = Bridge(stage.reader, replica, stage.broadcast, stage.clock, stage.notes, lambda *_: None, 2.0, 2)
    stage.write(*(wal_bytes() for _ in range(5)), b"poison")
    replica.fails = moment
    with pytest.raises(StoreUnavailable):
        replicate_slice(stage.bridge)

    replicate_slice(stage.bridge)

    assert len(replica.rows) == 5
    assert len(replica.dead) == 1


def test_a_slot_that_was_overtaken_goes_on_from_what_postgres_says() -> None:
    stage = Stage(batch=2)
    stage.write(*(wal_bytes() for _ in range(6)))
    (partition,) = (part for part, records in stage.wal.log.items() if records)
    stage.reader.poll(0, 2)
    stage.replica.places[partition] = WalPlace(4, 2)

    replicate_slice(stage.bridge)
    replicate_slice(stage.bridge)

    assert stage.replica.places[partition].offset == 6
    assert len(stage.replica.rows) == 2, "what the other slot had written is not written again"
    assert stage.reader.rewinds == 1


def test_two_slots_on_one_partition_write_everything_once() -> None:
    stage = Stage(batch=1)
    stage.write(*(wal_bytes() for _ in range(10)))
    other = Bridge(
        stage.wal.slot(stage.replica.take), stage.replica, stage.broadcast, stage.clock, stage.notes,
        lambda *figures: stage.counted.append(figures), 2.0, 1,
    )  # fmt: skip
    for _ in range(10):
        replicate_slice(stage.bridge)
        replicate_slice(other)
    (partition,) = (part for part, records in stage.wal.log.items() if records)

    assert stage.totals() == (10, 0, 0)
    assert stage.replica.take(WalPartition("memory.wal", partition.number)).offset == 10

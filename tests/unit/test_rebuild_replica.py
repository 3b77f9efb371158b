"""The replica from the log: whatever ends a slice, the next one goes on; what the log lost is said."""

from dataclasses import replace

import pytest

from app.domain.audit import Actor, AuditEntry
from app.domain.errors import WalUnavailable
from app.domain.log import WalPlace
from app.domain.rebuild import Rebuild, RebuildKind, RebuildState
from app.routing import TaskName
from app.services.rebuild_replica import Rebuilding, rebuild_in_turn, rebuild_slice
from app.services.replicate_wal import Bridge, replicate_slice
from tests.builders import NOW, an_id, wal_bytes
from tests.fakes import InMemoryReplica, InMemoryWal, RecordingBroadcast, RecordingDoorbell, RecordingNotes, Ring
from tests.fakes_rebuild import InMemoryHistory, InMemoryRebuilds

ENTRY = AuditEntry(Actor("tester", "r-1"), "rebuild.start", "replica")


class Stage:
    """A log, its replica with a slot, and what rebuilds it: a slice reads about ten batches."""

    def __init__(self, batch: int = 2) -> None:
        self.wal = InMemoryWal()
        self.replica = InMemoryReplica(self.wal.clock)
        self.rebuilds = InMemoryRebuilds(self.replica)
        self.history = InMemoryHistory(self.wal)
        self.doorbell = RecordingDoorbell()
        self.rebuilding = Rebuilding(self.history, self.rebuilds, self.wal.clock, self.doorbell, 1.0, batch)
        slot = self.wal.slot(self.replica.take)
        self.bridge = Bridge(
            slot, self.replica, RecordingBroadcast(), self.wal.clock, RecordingNotes(), lambda *_: None, 1.0
        )

    def write(self, *values: bytes, key: bytes = b"one") -> None:
        for value in values:
            self.wal.append("memory.wal", key, value)

    def replicated(self, *values: bytes) -> None:
        self.write(*values)
        replicate_slice(self.bridge)

    def asked(self, kind: RebuildKind = RebuildKind.REPLICA) -> str:
        return self.rebuilds.start(kind, ENTRY)[0].id

    def state_of(self, rebuild_id: str) -> Rebuild:
        return self.rebuilds.rebuilds[rebuild_id]


def test_without_a_rebuild_there_is_nothing_to_do() -> None:
    stage = Stage()

    assert not rebuild_slice(stage.rebuilding)


def test_what_the_log_says_takes_the_place_of_what_the_replica_said() -> None:
    stage = Stage()
    lost = an_id()
    stage.replicated(wal_bytes(lost), wal_bytes(), b"poison", wal_bytes())
    del stage.replica.rows[lost]
    asked = stage.asked()

    assert not rebuild_slice(stage.rebuilding)

    done = stage.state_of(asked)
    assert done.state is RebuildState.COMPLETED
    assert done.comparison is not None
    assert (done.comparison.only_new, done.comparison.examples, done.poison) == (1, (lost,), 1)
    assert lost in stage.replica.rows
    assert stage.history.closed == 1


def test_a_long_log_takes_many_slices_each_going_on_where_the_last_one_ended() -> None:
    stage = Stage()
    stage.replicated(*(wal_bytes() for _ in range(100)))
    asked = stage.asked()

    slices = 1
    while rebuild_slice(stage.rebuilding):
        slices += 1
        # A process that was killed knows nothing any more: what it had is in Postgres.
        stage.rebuilding = replace(stage.rebuilding, history=InMemoryHistory(stage.wal))

    assert slices > 3
    done = stage.state_of(asked)
    assert (done.read, done.to_read) == (100, 100)
    assert done.comparison is not None
    assert done.comparison.equal


def test_records_that_come_meanwhile_are_in_both() -> None:
    stage = Stage(batch=5)
    stage.replicated(*(wal_bytes() for _ in range(200)))
    asked = stage.asked()

    while rebuild_slice(stage.rebuilding):
        stage.replicated(*(wal_bytes() for _ in range(7)))

    done = stage.state_of(asked)
    assert done.comparison is not None
    assert done.comparison.equal
    assert done.comparison.new.rows == len(stage.replica.rows) > 200


def test_what_the_replica_has_not_read_yet_is_not_read_either() -> None:
    stage = Stage()
    stage.replicated(wal_bytes())
    stage.write(wal_bytes())
    asked = stage.asked()

    rebuild_slice(stage.rebuilding)

    assert stage.state_of(asked).state is RebuildState.COMPLETED
    assert len(stage.replica.rows) == 1
    stage.replicated()
    assert len(stage.replica.rows) == 2


def test_a_reader_of_the_old_table_is_waited_for() -> None:
    stage = Stage()
    stage.replicated(wal_bytes())
    asked = stage.asked()
    stage.rebuilds.reader = True
    looks = iter(range(50))
    stage.rebuilding = replace(stage.rebuilding, stopping=lambda: next(looks) > 20)
    assert rebuild_slice(stage.rebuilding)
    stage.rebuilds.reader = False
    stage.rebuilding = replace(stage.rebuilding, stopping=lambda: False)

    assert not rebuild_slice(stage.rebuilding)
    assert stage.state_of(asked).state is RebuildState.COMPLETED


def test_a_log_that_lost_its_beginning_rebuilds_nothing_and_the_replica_stays() -> None:
    stage = Stage()
    stage.replicated(wal_bytes(), wal_bytes())
    asked = stage.asked()
    (number,) = (where.number for where, records in stage.wal.log.items() if records)
    stage.history.first[number] = 1

    assert not rebuild_slice(stage.rebuilding)

    failed = stage.state_of(asked)
    assert failed.state is RebuildState.FAILED
    assert "no longer holds the records 0 to 0" in str(failed.error)
    assert len(stage.replica.rows) == 2


def test_another_log_than_the_replicas_rebuilds_nothing() -> None:
    stage = Stage()
    stage.replicated(wal_bytes(), wal_bytes())
    asked = stage.asked()
    for records in stage.wal.log.values():
        records.clear()

    rebuild_slice(stage.rebuilding)

    assert "this is not the log" in str(stage.state_of(asked).error)
    assert len(stage.replica.rows) == 2


def test_a_replica_that_went_back_ends_the_rebuild() -> None:
    stage = Stage()
    stage.replicated(*(wal_bytes() for _ in range(100)))
    asked = stage.asked()
    rebuild_slice(stage.rebuilding)
    (where,) = (where for where, place in stage.replica.places.items() if place.offset)
    stage.replica.places[where] = WalPlace(1, 9)

    rebuild_slice(stage.rebuilding)

    assert "went back" in str(stage.state_of(asked).error)


def test_an_outage_of_kafka_ends_the_slice_and_nothing_else() -> None:
    stage = Stage()
    stage.replicated(wal_bytes())
    asked = stage.asked()
    stage.wal.down = True
    with pytest.raises(WalUnavailable):
        rebuild_slice(stage.rebuilding)
    assert stage.history.closed == 1
    stage.wal.down = False

    rebuild_slice(stage.rebuilding)

    assert stage.state_of(asked).state is RebuildState.COMPLETED


def test_a_rebuild_that_somebody_cancels_stops() -> None:
    stage = Stage()
    stage.replicated(*(wal_bytes() for _ in range(100)))
    asked = stage.asked()
    assert rebuild_slice(stage.rebuilding)
    stage.rebuilds.cancel(asked, ENTRY)

    assert not rebuild_slice(stage.rebuilding)
    assert stage.replica.rows


def test_whether_a_timestamp_lies_ahead_is_judged_as_of_when_it_was_written() -> None:
    stage = Stage()
    ahead = an_id()
    stage.replicated(wal_bytes(ahead, timestamp=NOW.timestamp() + 100_000), wal_bytes())
    stage.wal.clock.advance(hours=48)
    asked = stage.asked()
    stage.replica.dead.clear()

    rebuild_slice(stage.rebuilding)

    assert ahead not in stage.replica.rows
    done = stage.state_of(asked).comparison
    assert done is not None
    assert done.equal


def test_slices_ring_for_themselves_until_the_end_and_then_for_the_brain() -> None:
    stage = Stage()
    stage.replicated(*(wal_bytes() for _ in range(30)))
    stage.asked(RebuildKind.BRAIN)

    assert rebuild_in_turn(stage.rebuilding)
    assert stage.doorbell.rings == [Ring(TaskName.REBUILD_WAL)]
    stage.wal.clock.advance(5)
    while rebuild_in_turn(stage.rebuilding):
        stage.wal.clock.advance(5)

    assert stage.doorbell.tasks[-1] is TaskName.REBUILD_BRAIN
    assert not rebuild_slice(stage.rebuilding)


def test_two_rings_in_a_row_leave_the_worker_to_the_replicator() -> None:
    stage = Stage()
    stage.replicated(*(wal_bytes() for _ in range(100)))
    asked = stage.asked()
    rebuild_in_turn(stage.rebuilding)
    read = stage.state_of(asked).read

    assert not rebuild_in_turn(stage.rebuilding)

    assert stage.state_of(asked).read == read
    assert len(stage.doorbell.rings) == 1


def test_the_replicator_gives_way_to_a_rebuild_after_its_share_or_when_it_has_nothing_to_do() -> None:
    stage = Stage()
    stage.replicated(*(wal_bytes() for _ in range(100)))
    stage.asked()
    turn, clock = stage.rebuilding.turn, stage.wal.clock
    assert not turn.is_due(clock.monotonic())
    rebuild_in_turn(stage.rebuilding)
    began = clock.monotonic()

    replicate_slice(replace(stage.bridge, slice_seconds=10, yielding=lambda: turn.more))

    assert clock.monotonic() - began == 0.5
    assert not turn.is_due(clock.monotonic())
    assert turn.is_due(began + 2)
    while rebuild_in_turn(stage.rebuilding):
        clock.advance(1)
    assert not turn.is_due(clock.monotonic() + 60)

"""Records reach Kafka, and only what Kafka acknowledged counts as sent."""

from app.domain.ports import Sent
from app.routing import TaskName
from app.services.drain_outbox import Drained, RecordPlane, drain_due_records
from tests.builders import a_record
from tests.fakes import InMemoryStore, InMemoryWal, RecordingDoorbell, RecordingNotes
from tests.fakes_store import FakeRecord


class Stage:
    """A store that owes records, a log, and the way between them."""

    def __init__(self, batch: int = 200) -> None:
        self.store = InMemoryStore()
        self.clock = self.store.clock
        self.wal = InMemoryWal(self.clock)
        self.bell, self.notes = RecordingDoorbell(), RecordingNotes()
        self.plane = RecordPlane(self.store.message_outbox("worker"), self.wal, self.bell, self.notes, batch)

    def drain(self) -> Drained:
        return drain_due_records(self.plane)

    @property
    def things(self) -> list[FakeRecord]:
        return [row.thing for row in self.store.record_rows.rows.values()]


def test_an_acknowledged_record_is_sent_and_the_bridge_is_rung() -> None:
    stage = Stage()
    stage.store.owe_records([a_record(), a_record()])

    assert stage.drain() == Drained(ok=2)

    assert all(isinstance(thing.sent, Sent) for thing in stage.things)
    assert TaskName.REPLICATE_WAL in stage.bell.tasks
    assert stage.drain() == Drained()


def test_records_survive_an_outage_of_any_length_and_come_in_order() -> None:
    stage = Stage()
    records = [a_record(partition_key="one", payload={"n": number}) for number in range(3)]
    stage.store.owe_records(records)
    stage.wal.down = True
    for _ in range(30):
        assert stage.drain() == Drained(retry=3)
        stage.clock.advance(6)
    assert stage.notes.last["kafka"] == "down"

    stage.wal.down = False

    assert stage.drain() == Drained(ok=3)
    assert [thing.sent.offset for thing in stage.things if thing.sent] == [0, 1, 2]


def test_a_pause_after_a_failure_is_never_longer_than_six_seconds() -> None:
    stage = Stage()
    stage.store.owe_records([a_record()])
    stage.wal.down = True
    for _ in range(10):
        stage.drain()
        assert stage.drain() == Drained()
        stage.clock.advance(5.6)
        assert stage.store.record_rows.is_due(stage.store.record_rows.owed[0])


def test_a_record_that_kafka_will_never_take_is_buried_and_the_others_go_on() -> None:
    stage = Stage()
    stage.store.owe_records([a_record(payload={"text": "x" * 2_000_000}), a_record()])

    assert stage.drain() == Drained(ok=1, dead=1)

    assert [row.state for row in stage.store.record_rows.rows.values()] == ["dead", "sent"]


def test_a_topic_that_is_missing_does_not_hold_up_the_others() -> None:
    stage = Stage()
    stage.store.owe_records([a_record("nowhere"), a_record()])

    assert stage.drain() == Drained(ok=1, retry=1)


def test_a_full_batch_rings_for_more_unless_something_failed() -> None:
    stage = Stage(batch=2)
    stage.store.owe_records([a_record() for _ in range(3)])
    stage.drain()
    assert TaskName.DRAIN_OUTBOX in stage.bell.tasks

    stage.bell.rings.clear()
    stage.wal.down = True
    stage.store.owe_records([a_record() for _ in range(3)])
    stage.drain()

    assert TaskName.DRAIN_OUTBOX not in stage.bell.tasks

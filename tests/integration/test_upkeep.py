"""What is measured is what is owed, and pruning takes only what is finished and old."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.replica import SqlReplica
from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.log import WalPartition
from app.domain.ports import Sent
from app.domain.wal import parse_all
from tests.builders import NOW, a_batch, a_final, a_message, a_receipt, a_record, an_id, wal_bytes
from tests.contracts.store_rig import PostgresRig


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


@pytest.fixture
def upkeep(engine: Engine) -> SqlUpkeep:
    return SqlUpkeep(engine)


def age(engine: Engine, table: str, key: str, value: str) -> None:
    """Make these rows eight days old."""
    with engine.begin() as connection:
        connection.execute(
            text(
                f"UPDATE {table} SET created_at = now() - interval '8 days',"
                f" finished_at = CASE WHEN state <> 'pending' THEN now() - interval '8 days' END WHERE {key} = :value"
            ),
            {"value": value},
        )


def test_what_is_owed_is_counted_until_it_is_done(store: PostgresRig, upkeep: SqlUpkeep) -> None:
    assert (upkeep.turns_owed().count, upkeep.memories_owed().count, upkeep.records_owed()) == (0, 0, {})
    message = a_message()
    store.inbox.accept(message, None)
    assert (upkeep.turns_owed().count, upkeep.memories_owed().count) == (1, 1)
    worker = store.process()
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    worker.turns.finish(turn, a_final(message.event_id), "done", None)
    worker.memories.synced([(item, a_receipt()) for item in worker.memories.claim_due(10)])

    assert (upkeep.turns_owed().count, upkeep.memories_owed().count) == (0, 0)
    assert upkeep.records_owed()["memory.wal"].count == 1


def test_lag_begins_when_kafka_has_what_the_replica_has_not(
    store: PostgresRig, upkeep: SqlUpkeep, engine: Engine
) -> None:
    topic = an_id("wal-")
    assert upkeep.replication_lag(topic, 3) == 0
    store.owe([a_record(topic)])
    worker = store.process()
    assert upkeep.replication_lag(topic, 3) == 0
    worker.records.sent([(item, Sent(1, 0)) for item in worker.records.claim_due(10)])
    assert upkeep.replication_lag(topic, 3) > 0
    batch = a_batch(WalPartition(topic, 1), 0, wal_bytes())
    good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
    replica = SqlReplica(engine)
    replica.take(batch.partition)
    replica.store(batch, good, bad)

    assert upkeep.replication_lag(topic, 3) == 0


def test_pruning_takes_what_is_finished_and_old_and_nothing_that_is_owed(
    store: PostgresRig, upkeep: SqlUpkeep, engine: Engine
) -> None:
    topic, worker = an_id("wal-"), store.process()
    unreplicated, owed, replicated = a_record(topic), a_record(topic), a_record(topic)
    store.owe([unreplicated, replicated])
    claimed = worker.records.claim_due(10)
    worker.records.sent([(claimed[0], Sent(0, 9)), (claimed[1], Sent(0, 1))])
    store.owe([owed])
    with engine.begin() as connection:
        offsets = "INSERT INTO replicator_offsets (topic, partition, next_offset) VALUES (:topic, 0, 5)"
        connection.execute(text(offsets), {"topic": topic})
    age(engine, "message_outbox", "topic", topic)

    assert upkeep.prune() >= 1

    assert store.records_of(topic, unreplicated.dedupe_key)
    assert store.records_of(topic, owed.dedupe_key)
    assert not store.records_of(topic, replicated.dedupe_key)


def test_a_note_replaces_the_one_before(upkeep: SqlUpkeep) -> None:
    upkeep.note("test", "down", "away")
    upkeep.note("test", "ok", "")

    note = upkeep.notes()["test"]
    assert (note.status, note.detail) == ("ok", "")
    assert 0 <= note.age < 60

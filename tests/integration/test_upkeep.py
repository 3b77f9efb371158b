"""What is measured is what is owed, and pruning takes only what is finished and old."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.replica import SqlReplica
from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.log import WalPartition
from app.domain.ports import Sent
from app.domain.tools import ToolEnd, ToolStatus, result_event
from app.domain.wal import parse_all
from tests.builders import NOW, a_batch, a_final, a_message, a_receipt, a_record, a_step, an_id, wal_bytes
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
    """Make it eight days since these rows were finished, or made."""
    ages = "finished_at = finished_at - interval '8 days', created_at = created_at - interval '8 days'"
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET {ages} WHERE {key} = :value"), {"value": value})


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


def test_lag_is_the_age_of_what_the_replica_has_not_whether_kafka_has_it_or_not(
    store: PostgresRig, upkeep: SqlUpkeep, engine: Engine
) -> None:
    topic = an_id("wal-")
    assert upkeep.replication_lag(topic, 3) == 0
    store.owe([a_record(topic)])
    worker = store.process()
    assert (waiting := upkeep.replication_lag(topic, 3)) > 0
    worker.records.sent([(item, Sent(1, 0)) for item in worker.records.claim_due(10)])
    assert upkeep.replication_lag(topic, 3) > waiting
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


def test_what_a_person_has_dealt_with_is_kept_for_a_month_and_what_is_open_for_ever(
    store: PostgresRig, upkeep: SqlUpkeep, engine: Engine
) -> None:
    topic = an_id("wal-")
    ages = {"open": None, "replayed": "29 days", "discarded": "31 days"}
    letter = """INSERT INTO dlq_messages (topic, error, error_kind, fingerprint, state, settled_at, created_at)
                VALUES (:topic, 'x', 'x', 'x', :state, now() - CAST(:age AS interval), now() - interval '1 year')"""
    work = """UPDATE message_outbox SET state = 'discarded', finished_at = now() - CAST(:age AS interval)
              WHERE dedupe_key = :key"""
    records = [a_record(topic) for _ in range(3)]
    store.owe(records)
    for owed in (worker := store.process()).records.claim_due(10):
        worker.records.bury(owed, "too large")
    with engine.begin() as connection:
        for state, how_old in ages.items():
            connection.execute(text(letter), {"topic": topic, "state": state, "age": how_old})
        for record, how_old in zip(records, ["31 days", "29 days"], strict=False):
            connection.execute(text(work), {"key": record.dedupe_key, "age": how_old})

    upkeep.prune()

    with engine.begin() as connection:
        kept = connection.execute(text("SELECT state FROM dlq_messages WHERE topic = :topic"), {"topic": topic})
        assert sorted(kept.scalars()) == ["open", "replayed"]
    assert [bool(store.records_of(topic, record.dedupe_key)) for record in records] == [False, True, True]


def test_the_calls_and_steps_of_a_turn_are_kept_as_long_as_it_is_owed(
    store: PostgresRig, upkeep: SqlUpkeep, engine: Engine
) -> None:
    message, worker = a_message(), store.process()
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    plan = a_step(turn)
    worker.turns.take_step(turn, plan)
    call = worker.calls.claim(plan.calls[0].call_id)
    assert call is not None
    end = ToolEnd("succeeded", ToolStatus.SUCCESS, {"text": "hi"})
    worker.calls.finish(call, result_event(call, end, "{}"), end, None)
    age(engine, "tool_calls", "call_id", call.call_id)
    with engine.begin() as connection:
        connection.execute(text("UPDATE turn_steps SET created_at = created_at - interval '8 days'"))

    upkeep.prune()

    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    (taken,) = worker.turns.steps(turn)
    assert call.call_id in taken.results
    worker.turns.finish(turn, a_final(message.event_id), "done", None)
    upkeep.prune()
    assert worker.turns.steps(turn) == []


def test_a_note_replaces_the_one_before(upkeep: SqlUpkeep) -> None:
    upkeep.note("test", "down", "away")
    upkeep.note("test", "ok", "")

    note = upkeep.notes()["test"]
    assert (note.status, note.detail) == ("ok", "")
    assert 0 <= note.age < 60

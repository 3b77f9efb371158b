"""A process's heartbeat: what it works on stays its own, what it forgot is free within a second."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.conversation import Turn
from tests.builders import a_message
from tests.conftest import eventually
from tests.contracts.store_rig import PostgresRig, Process


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


def claimed(store: PostgresRig, worker: Process) -> Turn:
    message = a_message()
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    return turn


def lease_seconds(engine: Engine, turn: Turn) -> float:
    """How long the lease still runs."""
    sql = text("SELECT extract(epoch FROM lease_until - now())::float FROM turns WHERE event_id = :id")
    with engine.begin() as connection:
        return float(connection.execute(sql, {"id": turn.event_id}).scalar_one())


def test_a_lease_outlives_its_length_while_it_is_worked_on(store: PostgresRig, engine: Engine) -> None:
    worker = store.process(lease_seconds=3).appear()
    message = a_message()
    store.inbox.accept(message, None)
    with worker.turns.working_on(message.event_id):
        turn = worker.turns.claim(message.event_id)
        assert turn is not None
        eventually(lambda: lease_seconds(engine, turn) < 2.5)

        eventually(lambda: lease_seconds(engine, turn) > 2.8)


def test_a_turn_that_its_worker_forgot_is_free_within_seconds(store: PostgresRig) -> None:
    turn = claimed(store, store.process().appear())

    other = store.process()

    assert eventually(lambda: other.turns.claim(turn.event_id), 5)


def test_a_process_that_is_there_is_counted_and_one_that_left_is_not(store: PostgresRig, engine: Engine) -> None:
    store.process().appear()

    assert SqlUpkeep(engine).workers_alive()["contract"] >= 1

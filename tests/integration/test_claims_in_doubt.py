"""Whoever asks what became of a COMMIT without an answer may come before that COMMIT is through: then it waits."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine

from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.adapters.sql.leases import Leases
from app.adapters.sql.work_kinds import TURNS
from app.domain.leases import Lease
from tests.builders import a_message, an_id

pytestmark = pytest.mark.servers

SOON_SECONDS = 0.5


@pytest.fixture
def leases() -> Leases:
    return Leases(TURNS, an_id("p-"), 30)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def a_turn(engine: Engine) -> str:
    message = a_message()
    SqlInbox(engine, MemoryDefaults("", "wm")).accept(message, None)
    return message.event_id


def claimed(connection: Connection, leases: Leases, key: str) -> Lease:
    (row,) = leases.claim(connection, 1, [key])
    return leases.lease_of(row)


def asked(engine: Engine, pool: ThreadPoolExecutor, look: Callable[[Connection], set[str]]) -> "Future[set[str]]":
    """The question, asked by another connection that has begun to look."""
    began = threading.Event()

    def ask() -> set[str]:
        with engine.begin() as connection:
            began.set()
            return look(connection)

    answer = pool.submit(ask)
    began.wait()
    with pytest.raises(TimeoutError):
        answer.result(SOON_SECONDS)
    return answer


@pytest.mark.parametrize("kept", [True, False])
def test_a_claim_under_way_is_waited_for(
    engine: Engine, leases: Leases, elsewhere: ThreadPoolExecutor, kept: bool
) -> None:
    key = a_turn(engine)
    with engine.connect() as connection:
        lease = claimed(connection, leases, key)
        answer = asked(engine, elsewhere, lambda other: leases.held(other, [lease]))
        (connection.commit if kept else connection.rollback)()

    assert answer.result(5) == ({key} if kept else set())


@pytest.mark.parametrize("kept", [True, False])
def test_an_end_under_way_is_waited_for(
    engine: Engine, leases: Leases, elsewhere: ThreadPoolExecutor, kept: bool
) -> None:
    key = a_turn(engine)
    with engine.begin() as connection:
        lease = claimed(connection, leases, key)
    with engine.connect() as connection:
        leases.settle(connection, [lease], "done")
        answer = asked(engine, elsewhere, lambda other: leases.ended(other, [lease], "done"))
        (connection.commit if kept else connection.rollback)()

    assert answer.result(5) == ({key} if kept else set())

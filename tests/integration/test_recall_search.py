"""Memories are found by their words in what is owed and in the replica, each in its place, forgotten ones never."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.leases import Leases
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.recall_search import SqlMemorySearch
from app.adapters.sql.replica import SqlReplica
from app.adapters.sql.work_kinds import MEMORIES
from app.domain.finding import Source
from app.domain.log import WalPartition
from app.domain.memory import Memory, Place
from app.domain.recall import Question
from app.domain.wal import parse_all
from tests.builders import NOW, a_batch, a_memory, an_id, wal_bytes

pytestmark = pytest.mark.servers


@pytest.fixture
def place() -> Place:
    return Place(an_id("t-"), "wm", "u-1")


@pytest.fixture
def search(engine: Engine) -> SqlMemorySearch:
    return SqlMemorySearch(engine)


@pytest.fixture
def ledger(engine: Engine) -> Iterator[SqlLedger]:
    yield SqlLedger(engine, "memory.wal", 6)
    with engine.begin() as connection:
        connection.execute(
            text("""UPDATE memory_write_outbox SET state = 'dead', finished_at = now(), lease_owner = NULL,
                           lease_until = NULL WHERE state = 'pending'""")
        )


def kept(ledger: SqlLedger, content: str, place: Place, **fields: object) -> Memory:
    memory = a_memory(content, place, **fields)
    ledger.accept([memory])
    return memory


def replicated(engine: Engine, content: str, place: Place) -> str:
    replica, event_id = SqlReplica(engine), an_id("m-")
    partition = WalPartition(an_id("topic-"), 0)
    taken = replica.take(partition)
    value = wal_bytes(event_id, tenant=place.tenant, payload={"id": event_id, "content": content, "metadata": {}})
    batch = a_batch(partition, 0, value, generation=taken.generation)
    good, bad = parse_all([(0, value)], NOW.timestamp())
    replica.store(batch, good, bad)
    return event_id


def test_what_waits_is_found_by_its_words_the_best_first(
    search: SqlMemorySearch, ledger: SqlLedger, place: Place
) -> None:
    kept(ledger, "the weather is fine", place)
    ada = kept(ledger, "My name is Ada.", place)

    found = search.pending(Question("what is my name?", place))

    assert [each.content for each in found] == ["My name is Ada.", "the weather is fine"]
    assert (found[0].event_id, found[0].source, found[0].role) == (ada.event_id, Source.PENDING, "user")
    assert 0 < found[1].score < found[0].score < 1


def test_what_a_worker_has_in_hand_is_found_as_well(
    engine: Engine, search: SqlMemorySearch, ledger: SqlLedger, place: Place
) -> None:
    held = kept(ledger, "My name is Ada.", place)
    waits = kept(ledger, "the weather has a name", place)
    kept(ledger, "nothing of the kind", place)
    with engine.begin() as connection:
        Leases(MEMORIES, an_id("worker-"), 30).claim(connection, 1, [held.event_id])

    found = search.pending(Question("what is my name?", place))

    assert [each.event_id for each in found] == [held.event_id, waits.event_id]
    assert not search.pending(Question("Ada", Place(place.tenant, place.namespace, "other")))
    assert not search.pending(Question("Ada", place, session_id="another"))


def test_other_places_and_other_sessions_are_not_searched(
    search: SqlMemorySearch, ledger: SqlLedger, place: Place
) -> None:
    here = kept(ledger, "a secret word", place)
    kept(ledger, "a secret word", Place(place.tenant, "other", place.universe))
    kept(ledger, "a secret word", Place(place.tenant, place.namespace, "other"))
    kept(ledger, "a secret word", Place(an_id("t-"), place.namespace, place.universe))

    assert [each.event_id for each in search.pending(Question("secret", place))] == [here.event_id]
    assert not search.pending(Question("secret", place, session_id="another"))
    assert search.pending(Question("secret", place, session_id=here.session_id))


def test_a_rare_word_is_found_among_many_with_the_common_ones(
    search: SqlMemorySearch, ledger: SqlLedger, place: Place
) -> None:
    for _ in range(4):
        ledger.accept([a_memory("what we said about the weather", place) for _ in range(100)])
    rare = kept(ledger, "the axolotl is called Bubbles", place)

    found = search.pending(Question("what is the axolotl called", place, top_k=3))

    assert found[0].event_id == rare.event_id
    assert len(found) == 3


def test_a_question_without_words_finds_nothing(search: SqlMemorySearch, place: Place) -> None:
    assert not search.pending(Question("?!", place))
    assert not search.replica(Question("...", place))


def test_the_replica_is_searched_but_for_what_was_forgotten(
    engine: Engine, search: SqlMemorySearch, ledger: SqlLedger, place: Place
) -> None:
    stays, goes = replicated(engine, "we stay here", place), replicated(engine, "we go there", place)
    question = Question("we", Place(place.tenant, "wm", "u-1"))
    assert {each.event_id for each in search.replica(question)} == {stays, goes}

    ledger.forget(goes, place.tenant)

    assert [(each.event_id, each.source) for each in search.replica(question)] == [(stays, Source.REPLICA)]


def test_a_memory_that_only_the_replica_knows_can_be_forgotten(engine: Engine, ledger: SqlLedger, place: Place) -> None:
    event_id = replicated(engine, "written by another program", place)

    assert ledger.forget(event_id, an_id("t-")) is None
    forgetting = ledger.forget(event_id, place.tenant)

    assert forgetting is not None
    assert (forgetting.memory.version, forgetting.memory.place) == (2, Place(place.tenant, "wm", "u-1"))

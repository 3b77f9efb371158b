"""A deleted memory stays deleted, also when its write was overtaken; what is written anew is kept."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine
from app.brain import writing
from app.brain.bodies import Forget, Item
from app.brain.memories import Memories
from app.brain.store import transaction
from app.brain.writing import Fate
from app.domain.memory import Place
from tests.conftest import eventually
from tests.contracts.brain_rig import ServedBrain, brain_database

HERE = {"tenant": "t1", "namespace": "wm"}
PLACE = Place("t1", "wm", "real")


@pytest.fixture(scope="module")
def served(servers: Any) -> Iterator[ServedBrain]:
    with brain_database(servers.environment["POSTGRES_DSN"]) as dsn:
        brain = ServedBrain(dsn, BRAIN_EMBEDDINGS="off")
        brain.dsn = dsn  # type: ignore[attr-defined]
        yield brain
        brain.close()


@pytest.fixture
def engine(served: ServedBrain) -> Iterator[Engine]:
    made = create_engine(served.dsn, 5)  # type: ignore[attr-defined]
    with made.begin() as connection:
        connection.execute(text("TRUNCATE brain.memories, brain.forgotten CASCADE"))
    yield made
    made.dispose()


@pytest.fixture
def call(served: ServedBrain, engine: Engine) -> Any:
    def post(path: str, body: object, **headers: str) -> Any:
        answer = requests.post(f"{served.url}{path}", data=json.dumps(body), headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post


def a_memory(write: str = "i-1", key: str = "m-1", **fields: object) -> dict[str, Any]:
    return {**HERE, "key": key, "value": {"content": "cat", "idempotency_key": write}, **fields}


def kept(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT key FROM brain.memories ORDER BY key")).scalars())


def tombstones(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM brain.forgotten")).scalar_one())


def test_a_write_that_a_delete_overtook_keeps_nothing_and_says_so(call: Any, engine: Engine) -> None:
    call("/memory/remember", a_memory())
    call("/delete", {**HERE, "key": "m-1", "idempotency_key": "i-1"})
    late = call("/memory/remember", a_memory())
    assert (late["ok"], late["deduplicated"], late["persisted_to_ltm"], late["queued_for_ltm"]) == (
        True, True, False, False,
    )  # fmt: skip
    assert "deleted" in late["warnings"][0]
    assert kept(engine) == []


def test_another_write_of_a_deleted_memory_is_kept_and_ends_the_tombstone(call: Any, engine: Engine) -> None:
    call("/memory/remember", a_memory())
    call("/delete", {**HERE, "key": "m-1", "idempotency_key": "i-1"})
    anew = call("/memory/remember", a_memory("i-2"))
    assert (anew["deduplicated"], anew["persisted_to_ltm"], anew["warnings"]) == (False, True, [])
    assert (kept(engine), tombstones(engine)) == (["m-1"], 0)


def test_a_delete_that_names_no_write_keeps_none_away(call: Any, engine: Engine) -> None:
    for _ in range(2):
        assert call("/memory/remember", a_memory())["persisted_to_ltm"]
        assert call("/delete", {**HERE, "key": "m-1"})["deleted"] == 1
    assert (kept(engine), tombstones(engine)) == ([], 0)


def test_a_memory_without_an_idempotency_key_may_always_be_written_again(call: Any, engine: Engine) -> None:
    for _ in range(2):
        assert call("/memory/remember", {**HERE, "key": "m-1", "value": {}})["persisted_to_ltm"]
        assert call("/delete", {**HERE, "key": "m-1"})["deleted"] == 1
    assert tombstones(engine) == 0


@pytest.mark.parametrize("universe", [{}, {"universe": "u-1"}], ids=["any universe", "its universe"])
@pytest.mark.parametrize("by", ["header", "body"])
def test_a_delete_that_names_the_write_wins_though_it_comes_first(
    call: Any, engine: Engine, universe: dict[str, str], by: str
) -> None:
    named = {"idempotency_key": "i-1"} if by == "body" else {}
    headers = {"Idempotency-Key": "i-1"} if by == "header" else {}
    assert call("/delete", {**HERE, **universe, "key": "m-1", **named}, **headers)["deleted"] == 0
    assert call("/memory/remember", a_memory(universe="u-1"))["persisted_to_ltm"] is False
    assert kept(engine) == []


def test_a_tombstone_holds_for_its_own_place_and_key_only(call: Any, engine: Engine) -> None:
    call("/memory/remember", a_memory(universe="u-1"))
    call("/delete", {**HERE, "universe": "u-1", "key": "m-1", "idempotency_key": "i-1"})
    for other in ({"tenant": "t2"}, {"namespace": "notes"}, {"universe": "u-2"}, {"key": "m-2"}):
        assert call("/memory/remember", a_memory(**{"universe": "u-1", **other}))["persisted_to_ltm"]
    assert kept(engine) == ["m-1", "m-1", "m-1", "m-2"]


def test_an_idempotency_key_of_any_length_and_script_can_be_forgotten(call: Any, engine: Engine) -> None:
    endless = "ключ-'\"\\ " * 2_000
    call("/memory/remember", a_memory(endless))
    call("/delete", {**HERE, "key": "m-1", "idempotency_key": endless})
    assert call("/memory/remember", a_memory(endless))["persisted_to_ltm"] is False


def test_a_batch_keeps_what_is_alive_and_leaves_out_what_is_forgotten(call: Any, engine: Engine) -> None:
    call("/memory/remember", a_memory())
    call("/delete", {**HERE, "key": "m-1", "idempotency_key": "i-1"})
    items = [{"key": key, "value": {"idempotency_key": write}} for key, write in (("m-2", "i"), ("m-1", "i-1"))]
    results = call("/memory/remember/batch", {**HERE, "items": items})["results"]
    assert [(each["key"], each["persisted_to_ltm"]) for each in results] == [("m-2", True), ("m-1", False)]
    assert kept(engine) == ["m-2"]


def test_equal_keys_in_one_batch_are_written_in_their_order(engine: Engine) -> None:
    offered = [("a", 1, "i-1"), ("b", 1, "i-1"), ("a", 1, "i-1"), ("a", 2, "i-2"), ("a", 2, "i-2")]
    items = [(Item(key=key, value={"n": n}), write) for key, n, write in offered]
    fates = Memories(engine).write(PLACE, items)
    assert fates == [Fate.WRITTEN, Fate.WRITTEN, Fate.REPEATED, Fate.WRITTEN, Fate.REPEATED]
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, value, writes FROM brain.memories ORDER BY key")).all()
    assert [tuple(row) for row in rows] == [("a", {"n": 2}, 2), ("b", {"n": 1}, 1)]


def test_any_tag_and_any_word_come_through_a_batch(engine: Engine) -> None:
    tags = ['a"b', "back\\slash", "{brace},", "NULL", "ünï ☃"]
    Memories(engine).write(PLACE, [(Item(key="m-1", value={"content": "NULL 東京 'x\" \\y"}, tags=tags), None)])
    with engine.connect() as connection:
        assert connection.execute(text("SELECT tags FROM brain.memories")).scalar_one() == tags


def test_a_delete_waits_for_the_write_that_is_under_way(engine: Engine) -> None:
    deleted: list[int] = []
    wish = Forget(**HERE, key="m-1")
    late = threading.Thread(target=lambda: deleted.append(Memories(engine).forget(wish)))
    with transaction(engine) as connection:
        writing.write(connection, PLACE, [(Item(key="m-1", value={}), "i-1")])
        late.start()
        eventually(lambda: _waits(engine), seconds=10)
    late.join()
    assert (deleted, kept(engine)) == ([1], [])


def test_a_write_waits_for_the_delete_that_is_under_way_and_keeps_nothing(engine: Engine) -> None:
    fates: list[Fate] = []
    memories, items = Memories(engine), [(Item(key="m-1", value={}), "i-1")]
    memories.write(PLACE, items)
    late = threading.Thread(target=lambda: fates.extend(memories.write(PLACE, items)))
    with transaction(engine) as connection:
        writing.delete(connection, Forget(**HERE, key="m-1"), "i-1")
        late.start()
        eventually(lambda: _waits(engine), seconds=10)
    late.join()
    assert (fates, kept(engine)) == ([Fate.FORGOTTEN], [])


def _waits(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.execute(text(waiting)).scalar_one())


def test_tombstones_end_after_thirty_days(served: ServedBrain, call: Any, engine: Engine) -> None:
    for key, days in (("young", 29), ("old", 31)):
        call("/delete", {**HERE, "key": key, "idempotency_key": "i-1"})
        with engine.begin() as connection:
            aged = "UPDATE brain.forgotten SET forgotten_at = now() - make_interval(days => :days) WHERE key = :key"
            connection.execute(text(aged), {"days": days, "key": key})
    served.catch_up()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT key FROM brain.forgotten")).scalars().all() == ["young"]

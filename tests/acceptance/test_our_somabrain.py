"""Every call of SomaBrain's contract, asked of the memory service that runs beside the whole system."""

import json
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pytest
import requests

from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually

pytestmark = pytest.mark.servers
RECEIPT = {
    "ok", "tenant", "namespace", "key", "coordinate", "queued", "breaker_open", "promoted_to_wm", "persisted_to_ltm",
    "queued_for_ltm", "deduplicated", "importance", "novelty", "ttl_applied", "trace_id", "request_id", "warnings",
    "signals",
}  # fmt: skip
FOUND = {
    "tenant", "namespace", "results", "wm_hits", "ltm_hits", "duration_ms", "session_id", "chunk_index", "has_more",
    "total_results", "chunk_size",
}  # fmt: skip


@dataclass(frozen=True)
class Drawer:
    """One tenant's drawer in the service at one of its two places."""

    base: str
    tenant: str

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return requests.post(self.base + path, data=None if body is None else json.dumps(body), timeout=10, **options)

    def place(self, **fields: Any) -> dict[str, Any]:
        return {"tenant": self.tenant, "namespace": "wm", **fields}

    def remember(self, key: str, content: str, **fields: Any) -> dict[str, Any]:
        answer = self.post("/memory/remember", self.place(key=key, value={"content": content}, **fields))
        assert answer.status_code == 200, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    def recall(self, query: str, **fields: Any) -> dict[str, Any]:
        answer = self.post("/memory/recall", self.place(query=query, top_k=50, **fields))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def told(self, query: str, **fields: Any) -> list[str]:
        return [each["payload"]["content"] for each in self.recall(query, **fields)["results"]]


@pytest.fixture(params=["", "/api"], ids=["at the root", "under /api"])
def drawer(stack: Stack, request: pytest.FixtureRequest) -> Drawer:
    return Drawer(stack.url("brain") + request.param, an_id("t-"))


def coordinate(universe: str, key: str) -> list[float]:
    digest = blake2b(f"{universe or 'real'}::{key}".encode(), digest_size=12).digest()
    return [2 * number / 2**32 - 1 for number in struct.unpack(">3I", digest)]


def test_remember_answers_with_every_field_and_the_memorys_coordinate(drawer: Drawer) -> None:
    receipt = drawer.remember("m-1", "the otter sleeps", universe="dreams", a_field_of_later_versions=1)

    assert set(receipt) >= RECEIPT
    assert receipt["coordinate"] == pytest.approx(coordinate("dreams", "m-1"))
    assert (receipt["ok"], receipt["persisted_to_ltm"], receipt["deduplicated"]) == (True, True, False)


def test_a_repeat_with_its_idempotency_key_is_one_memory(drawer: Drawer) -> None:
    value = {"content": "the otter sleeps", "idempotency_key": "k-1"}
    first, again = (drawer.post("/memory/remember", drawer.place(key="m-1", value=value)).json() for _ in range(2))

    assert (first["deduplicated"], again["deduplicated"]) == (False, True)
    assert drawer.told("otter") == ["the otter sleeps"]


def test_a_batch_answers_in_order(drawer: Drawer) -> None:
    items = [{"key": f"m-{number}", "value": {"content": f"otter {number}"}} for number in range(3)]

    answer = drawer.post("/memory/remember/batch", drawer.place(items=items), headers={"X-Request-ID": "r-1"}).json()

    assert [(each["key"], each["request_id"]) for each in answer["results"]] == [
        (f"m-{n}", f"r-1:{n}") for n in range(3)
    ]
    assert set(answer) >= {"ok", "tenant", "namespace", "results", "breaker_open", "queued"}
    assert sorted(drawer.told("otter")) == ["otter 0", "otter 1", "otter 2"]


def test_recall_finds_words_stems_near_spellings_and_meaning_best_first_and_nothing_twice(drawer: Drawer) -> None:
    drawer.remember("m-1", "the otters are sleeping by the river")
    drawer.remember("m-2", "a badger digs a hole")

    found = drawer.recall("otter")

    assert set(found) >= FOUND
    (best, *_) = found["results"]
    assert {"layer", "score", "payload", "coordinate", "source", "confidence", "novelty", "affinity"} <= set(best)
    scores = [each["score"] for each in found["results"]]
    assert sorted(scores, reverse=True) == scores
    assert all(0 <= score <= 1 for score in scores)
    for query in ("otters", "sleep", "rivver"):
        told = drawer.told(query)
        assert told[0] == "the otters are sleeping by the river", query
        assert len(told) == len(set(told))
    meaning = "an animal that makes tunnels in the ground"
    eventually(lambda: drawer.told(meaning)[:1] == ["a badger digs a hole"])


@pytest.mark.parametrize("form", ["object", "string", "address"])
def test_a_question_may_come_in_three_forms(drawer: Drawer, form: str) -> None:
    drawer.remember("m-1", "the otter sleeps")
    asked = drawer.place(query="otter", top_k=3)

    answer = {
        "object": lambda: drawer.post("/memory/recall", asked),
        "string": lambda: drawer.post("/memory/recall", json.dumps(asked)),
        "address": lambda: drawer.post("/memory/recall", params={"payload": json.dumps(asked)}),
    }[form]()

    assert [each["payload"]["content"] for each in answer.json()["results"]] == ["the otter sleeps"]


def test_tenants_namespaces_and_universes_are_kept_apart(drawer: Drawer) -> None:
    drawer.remember("m-1", "the otter of everyday")
    drawer.remember("m-1", "the otter of dreams", universe="dreams")
    drawer.remember("m-1", "the otter of another shelf", namespace="other")

    assert drawer.told("otter") == ["the otter of everyday"]
    assert drawer.told("otter", universe="dreams") == ["the otter of dreams"]
    assert drawer.told("otter", namespace="other") == ["the otter of another shelf"]
    assert Drawer(drawer.base, an_id("t-")).told("otter") == []


@pytest.mark.parametrize("path", ["/recall/delete", "/delete"])
@pytest.mark.parametrize("name", ["id", "key", "coordinate"])
def test_a_memory_is_deleted_by_any_of_its_names_and_only_in_its_tenant(drawer: Drawer, path: str, name: str) -> None:
    named = {"id": "m-1", "key": "m-1", "coordinate": coordinate("", "m-1")}[name]
    other = Drawer(drawer.base, an_id("t-"))
    for each in (drawer, other):
        each.remember("m-1", "the otter sleeps")

    answer = drawer.post(path, drawer.place(**{name: named}))

    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    assert (drawer.told("otter"), other.told("otter")) == ([], ["the otter sleeps"])


def test_health_figures_metrics_and_links_answer(drawer: Drawer) -> None:
    drawer.remember("m-1", "the otter sleeps")
    drawer.remember("m-2", "the badger digs")
    for path in ("/health", "/healthz"):
        health = requests.get(drawer.base + path, timeout=10).json()
        assert (health["ok"], health["ready"], health["memory_ok"]) == (True, True, True)
        assert "components" in health
    figures = requests.get(drawer.base + "/memory/metrics", params=drawer.place(), timeout=10).json()
    assert (figures["wm_items"], figures["circuit_open"], figures["outbox_pending"]) == (2, False, 0)
    assert "python_info" in requests.get(drawer.base + "/metrics", timeout=10).text
    tie = drawer.place(from_key="m-1", to_key="m-2", type="near", weight=0.5)
    assert drawer.post("/link", tie).json()["ok"]


def test_the_older_calls_work(drawer: Drawer) -> None:
    word = an_id().replace("-", "")
    assert drawer.post("/remember", {"payload": {"id": an_id(), "content": f"the {word} sleeps"}}).status_code == 200

    found = drawer.post("/recall", {"query": word, "top_k": 3}).json()

    assert word in json.dumps(found)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/memory/remember", {"key": "m-1"}, 422),
        ("/memory/remember", [], 422),
        ("/memory/remember/batch", {"tenant": "t", "namespace": "wm", "items": []}, 422),
        ("/memory/recall", {"tenant": "t", "namespace": "wm", "query": "x", "top_k": 51}, 422),
        ("/memory/remember", {"tenant": "t", "namespace": "wm", "key": "m", "value": {"content": "x" * 2**20}}, 413),
        ("/nothing", {}, 404),
    ],
)
def test_what_is_wrong_is_answered_with_a_detail(drawer: Drawer, path: str, body: Any, status: int) -> None:
    answer = drawer.post(path, body)

    assert answer.status_code == status
    assert answer.json()["detail"]

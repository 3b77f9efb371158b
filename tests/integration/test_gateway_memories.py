"""Memories over HTTP: brought in batches, found with SomaBrain and without it, forgotten everywhere."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from app.adapters.http.brain import HttpBrain
from app.adapters.sql.outboxes import SqlMemoryOutbox
from app.services.sync_memories import Delivered, MemoryPlane, sync_due_memories
from app.settings import read
from app.wiring.process import SystemClock
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.contracts.brain_rig import ServedBrain
from tests.contracts.store_rig import PostgresRig
from tests.fakes import RecordingBroadcast, RecordingDoorbell
from tests.integration.gateway_process import Gateway, assert_problem

pytestmark = pytest.mark.servers
JSON = {"Content-Type": "application/json"}


@dataclass
class Memories:
    """A gateway, the memory service behind it, and a worker that delivers when it is told to."""

    gateway: Gateway
    brain: ServedBrain
    plane: MemoryPlane
    tenant: str

    def item(self, content: str = "hello", **fields: Any) -> dict[str, Any]:
        metadata = {"tenant": self.tenant, **fields.pop("metadata", {})}
        return {"id": an_id("m-"), "content": content, "session_id": "s-1", "metadata": metadata, **fields}

    def batch(self, *items: Any, **headers: str) -> requests.Response:
        return self.gateway.call("POST", "/v1/memory/batch", data=json.dumps({"items": items}), headers=JSON | headers)

    def receipts(self, *items: Any) -> list[dict[str, Any]]:
        answer = self.batch(*items)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def recall(self, query: str, **wish: Any) -> dict[str, Any]:
        body = {"query": query, "tenant": self.tenant, **wish}
        answer = self.gateway.call("POST", "/v1/memory/recall", data=json.dumps(body), headers=JSON)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def forget(self, memory_id: str, tenant: str = "") -> requests.Response:
        return self.gateway.call("DELETE", f"/v1/memory/{memory_id}", params={"tenant": tenant or self.tenant})

    def deliver(self) -> Delivered:
        self.plane.brain.close_breaker()
        self.plane.outbox.wake()
        return sync_due_memories(self.plane)

    def in_the_brain(self) -> list[str]:
        answer = requests.get(f"{self.brain.url}/memory/items", params={"tenant": self.tenant}, timeout=10)
        return [item["key"] for item in answer.json()["items"]]


@pytest.fixture(scope="module")
def brain(servers: Stack) -> Iterator[ServedBrain]:
    running = ServedBrain(servers.environment["POSTGRES_DSN"])
    yield running
    running.close()


@pytest.fixture(scope="module")
def remembering(servers: Stack, brain: ServedBrain) -> Iterator[Gateway]:
    settings = {"SOMA_BASE_URL": brain.url, "GATEWAY_WRITE_THROUGH_ASYNC": "false", "GATEWAY_WORKERS": "1"}
    running = Gateway(servers.environment, **settings, MEMORY_BATCH_MAX_ITEMS="20").start()
    yield running
    running.stop()


@pytest.fixture
def memories(remembering: Gateway, brain: ServedBrain, engine: Engine) -> Iterator[Memories]:
    rig = PostgresRig(engine)
    outbox = rig.process().memories
    assert isinstance(outbox, SqlMemoryOutbox)
    client = HttpBrain.from_settings(read({"SOMA_BASE_URL": brain.url}))
    plane = MemoryPlane(outbox, client, RecordingDoorbell(), RecordingBroadcast(), SystemClock())
    yield Memories(remembering, brain, plane, an_id("t-"))
    rig.close()


@pytest.fixture
def away(memories: Memories) -> Iterator[None]:
    """While a test runs, SomaBrain is away; afterwards the gateway has noticed that it is back."""
    memories.brain.stop()
    yield
    _back(memories)


def _back(memories: Memories) -> None:
    memories.brain.start()
    eventually(lambda: not memories.recall("anything")["degraded"], 30)


def test_a_batch_is_remembered_at_once_and_answered_in_its_order(memories: Memories) -> None:
    items = [memories.item(f"number {number}") for number in range(5)]

    receipts = memories.receipts(*items)

    assert [receipt["id"] for receipt in receipts] == [item["id"] for item in items]
    assert all(receipt["ok"] and not receipt["queued"] for receipt in receipts)
    assert all(len(receipt["result"]["coord"]) == 3 for receipt in receipts)
    assert sorted(memories.in_the_brain()) == sorted(item["id"] for item in items)


def test_wrong_memories_spoil_no_other(memories: Memories) -> None:
    deep: Any = "down here"
    for _ in range(100):
        deep = [deep]
    good, better = memories.item("good"), memories.item("better")
    wrong = [
        {"content": "without an id"},
        memories.item("with NUL \x00"),
        memories.item("with half a pair \ud800"),
        memories.item("too deep", extra=deep),
        memories.item("an odd role", role="nobody"),
        memories.item("a wide place", metadata={"universe_id": "u" * 300}),
        "not even an object",
        {**memories.item("other words"), "id": good["id"]},
    ]

    receipts = memories.receipts(good, *wrong, better)

    assert [receipt["ok"] for receipt in receipts] == [True, *[False] * len(wrong), True]
    assert not any(receipt["queued"] for receipt in receipts)
    assert all(receipt["error"] for receipt in receipts[1:-1])
    assert receipts[1]["error"] == "id: it is missing"
    assert "new id" in receipts[-2]["error"]
    assert sorted(memories.in_the_brain()) == sorted((good["id"], better["id"]))


def test_a_memory_too_large_for_the_log_is_refused_alone(memories: Memories) -> None:
    large, small = memories.item("x" * 900_000), memories.item("small")

    refused, kept = memories.receipts(large, small)

    assert (refused["ok"], refused["queued"], kept["ok"]) == (False, False, True)
    assert "786432 bytes" in refused["error"]


def test_a_batch_over_the_limit_is_413_and_keeps_nothing(memories: Memories) -> None:
    assert_problem(memories.batch(*(memories.item() for _ in range(21))), 413, "at most 20")
    assert not memories.in_the_brain()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"items": []}', b'{"items": [{"id": "a"}], "more": 1}', b'{"items": {}}', b"[", b"7"]
)
def test_what_is_no_batch_is_refused_with_words(memories: Memories, body: bytes) -> None:
    answer = memories.gateway.call("POST", "/v1/memory/batch", data=body, headers=JSON)

    assert_problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


def test_a_repeated_batch_keeps_nothing_twice(memories: Memories) -> None:
    item, key = memories.item(), an_id()
    first = memories.batch(item, **{"Idempotency-Key": key})

    again = memories.batch(item, **{"Idempotency-Key": key})

    assert first.json()["items"][0]["ok"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["items"][0] == {"id": item["id"], "ok": True, "queued": False}
    assert_problem(memories.batch(memories.item(), **{"Idempotency-Key": key}), 422)


@pytest.mark.usefixtures("away")
def test_without_somabrain_a_batch_waits_and_is_found_and_comes_through_later(memories: Memories) -> None:
    item = memories.item("my name is Ada", session_id="one")

    (receipt,) = memories.receipts(item)
    assert (receipt["ok"], receipt["queued"]) == (False, True)

    recalled = memories.recall("what is my name?")
    assert recalled["degraded"]
    assert [(found["event_id"], found["source"]) for found in recalled["results"]] == [(item["id"], "pending")]

    memories.brain.start()
    assert memories.deliver().ok == 1
    assert memories.in_the_brain() == [item["id"]]
    memories.brain.stop()


def test_a_memory_of_one_session_is_recalled_in_another(memories: Memories) -> None:
    item = memories.item("my name is Ada", session_id="one", role="user")
    memories.receipts(item, memories.item("the weather is fine", session_id="two"))

    recalled = memories.recall("what is my name?", top_k=1)

    assert not recalled["degraded"]
    (found,) = recalled["results"]
    assert (found["event_id"], found["content"], found["source"]) == (item["id"], "my name is Ada", "brain")
    assert (found["role"], 0 < found["score"] <= 1) == ("user", True)
    assert found["created_at"]


def test_recall_stays_inside_its_tenant_and_its_place(memories: Memories) -> None:
    memories.receipts(memories.item("a secret"), memories.item("a secret elsewhere", metadata={"universe_id": "u-2"}))

    assert [found["content"] for found in memories.recall("secret")["results"]] == ["a secret"]
    assert not memories.recall("secret", tenant=an_id("t-"))["results"]
    assert [found["content"] for found in memories.recall("secret", universe="u-2")["results"]] == [
        "a secret elsewhere"
    ]


@pytest.mark.parametrize("wish", [{"query": ""}, {"top_k": 51}, {"top_k": "5"}, {"colour": "red"}, {"query": "\x00"}])
def test_a_wrong_question_is_422_and_says_where(memories: Memories, wish: dict[str, Any]) -> None:
    body = json.dumps({"query": "hello", **wish})

    assert_problem(memories.gateway.call("POST", "/v1/memory/recall", data=body, headers=JSON), 422)


def test_a_forgotten_memory_is_gone_from_somabrain_and_from_recall(memories: Memories) -> None:
    goes, stays = memories.item("my secret"), memories.item("another secret")
    memories.receipts(goes, stays)

    answer = memories.forget(goes["id"])

    assert answer.status_code == 200
    assert answer.json()["deleted"] is True
    assert memories.in_the_brain() == [stays["id"]]
    assert [found["event_id"] for found in memories.recall("secret")["results"]] == [stays["id"]]
    assert memories.forget(goes["id"]).status_code == 200, "asked again, it is still forgotten"
    (again,) = memories.receipts(goes)
    assert not again["ok"]
    assert "forgotten" in again["error"]


def test_nobody_forgets_what_is_not_theirs(memories: Memories) -> None:
    item = memories.item()
    memories.receipts(item)

    assert_problem(memories.forget(item["id"], an_id("t-")), 404)
    assert_problem(memories.forget("nobody-has-this"), 404)
    assert memories.in_the_brain() == [item["id"]]


def test_what_is_forgotten_while_somabrain_is_away_is_told_no_more_and_goes_later(memories: Memories) -> None:
    item = memories.item("my secret")
    memories.receipts(item)
    memories.brain.stop()

    answer = memories.forget(item["id"])

    assert (answer.status_code, answer.json()) == (202, {"deleted": False, "queued": True})
    assert not memories.recall("secret")["results"]
    _back(memories)
    assert not memories.recall("secret")["results"], "SomaBrain still has it, and nobody is told of it"
    assert memories.deliver().ok == 1
    assert not memories.in_the_brain()


def test_the_log_is_told_of_what_was_forgotten(memories: Memories, engine: Engine) -> None:
    item = memories.item()
    memories.receipts(item)
    memories.forget(item["id"])

    with engine.begin() as connection:
        statement = text("SELECT payload FROM message_outbox WHERE dedupe_key LIKE :key ORDER BY id")
        records = connection.execute(statement, {"key": f"{item['id']}:%"}).scalars().all()

    assert [(record["type"], record["version"]) for record in records] == [("memory.write", 1), ("memory.delete", 2)]
    assert records[1]["payload"] == {}


def _imported(memories: Memories, raw: bytes, kind: str = "application/x-ndjson", **query: Any) -> requests.Response:
    query = {"tenant": memories.tenant, **query}
    return memories.gateway.call("POST", "/v1/memory/import", params=query, data=raw, headers={"Content-Type": kind})


def test_a_file_becomes_memories_line_by_line(memories: Memories) -> None:
    lines = [json.dumps(memories.item(f"line {number}")).encode() for number in range(3)]
    raw = b"\n".join([lines[0], b"{cut", lines[1], lines[2]]) + b"\n"

    first, second = _imported(memories, raw, format="soma", first_line=10), _imported(memories, raw, format="soma")

    assert first.status_code == 200
    assert {**first.json(), "problems": None} == {
        "format": "soma", "lines": 4, "accepted": 3, "repeated": 0, "skipped": 0, "rejected": 1, "problems": None,
    }  # fmt: skip
    assert [problem["line"] for problem in first.json()["problems"]] == [11]
    assert (second.json()["accepted"], second.json()["repeated"]) == (0, 3)
    assert memories.deliver().ok == 3
    assert len(memories.in_the_brain()) == 3


def test_facts_of_mem0_are_recognised_and_remembered(memories: Memories) -> None:
    facts = {"results": [{"id": "1", "memory": "Likes green tea", "user_id": "ada"}]}

    answer = _imported(memories, json.dumps(facts).encode(), "application/json")

    assert (answer.json()["format"], answer.json()["accepted"]) == ("mem0", 1)
    assert [found["content"] for found in memories.recall("green tea")["results"]] == ["Likes green tea"]


@pytest.mark.parametrize(
    ("raw", "kind", "query", "status"),
    [
        (b"hello", "text/plain", {}, 415),
        (b"hello\n", "application/x-ndjson", {}, 422),
        (b"{}", "application/json", {"format": "excel"}, 422),
        (b"{}", "application/json", {"first_line": 0}, 422),
        ("[]".encode("utf-16"), "application/json", {}, 422),
    ],
)
def test_what_cannot_be_imported_is_refused_with_words(
    memories: Memories, raw: bytes, kind: str, query: dict[str, Any], status: int
) -> None:
    assert_problem(_imported(memories, raw, kind, **query), status)


def test_a_message_is_remembered_within_its_request_where_that_is_wanted(memories: Memories) -> None:
    before = _counted(memories, "ok")

    receipt = memories.gateway.say("remember this", metadata={"tenant": memories.tenant})

    assert memories.in_the_brain() == [receipt["event_id"]]
    assert _counted(memories, "ok") == before + 1


@pytest.mark.usefixtures("away")
def test_a_message_is_accepted_whatever_somabrain_does(memories: Memories) -> None:
    before = _counted(memories, "queued")

    receipt = memories.gateway.say("remember this later", metadata={"tenant": memories.tenant})

    assert _counted(memories, "queued") == before + 1
    assert [found["event_id"] for found in memories.recall("remember")["results"]] == [receipt["event_id"]]


def _counted(memories: Memories, result: str) -> float:
    labels = {"path": "/v1/session/message", "result": result}
    families = text_string_to_metric_families(memories.gateway.get("/metrics").text)
    name = "gateway_write_through_results_total"
    return sum(
        each.value for family in families for each in family.samples if (each.name, each.labels) == (name, labels)
    )

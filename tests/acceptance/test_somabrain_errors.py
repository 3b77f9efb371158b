"""What the contract says of SomaBrain's answers, on the running system with a SomaBrain that plays each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.contracts.scripted_brain import Fault, ScriptedBrain, broken_headers, drop_at_once, endless, hang, status

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
PARTS = {"postgres", "redis", "migrations", "gateway", "worker-delivery", "beat"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Line:
    """The system, and the SomaBrain that it speaks to."""

    base: str
    brain: ScriptedBrain

    def accept(self, content: str = "hello", tenant: str = "") -> str:
        """A memory that is accepted, whatever SomaBrain does; its id."""
        event_id = an_id("m-")
        item = {"id": event_id, "content": content, "metadata": {"tenant": tenant or an_id("t-")}}
        headers = {"traceparent": TRACE}
        answer = requests.post(f"{self.base}/v1/memory/batch", json={"items": [item]}, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        (receipt,) = answer.json()["items"]
        assert receipt["ok"] or receipt["queued"], receipt
        return event_id

    def work(self, event_id: str) -> dict[str, Any] | None:
        """The row as the desk shows it: None once it is remembered."""
        found = requests.get(f"{self.base}/v1/admin/work", params={"kind": "memory", "limit": 200}, timeout=10).json()
        return next((item for item in found["items"] if item["id"] == event_id), None)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.base}/v1/health", timeout=10).json()["components"][
            "somabrain_http"
        ]
        return found

    def has(self, event_id: str) -> bool:
        return any(key == event_id for _, _, _, key in self.brain.kept)

    def waits(self, event_id: str) -> dict[str, Any] | None:
        """The row, once an attempt at it has failed and it is still owed."""
        item = self.work(event_id)
        return item if item and item["reason"] and item["state"] != "dead" else None

    def dies(self, event_id: str) -> dict[str, Any] | None:
        item = self.work(event_id)
        return item if item and item["state"] == "dead" else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    brain = ScriptedBrain()
    overrides = {"SOMA_BASE_URL": brain.url, "SOMA_TIMEOUT_SECONDS": "1", "SOMA_SLOW_SECONDS": "0.9"}
    with Stack(tmp_path_factory.mktemp("somabrain"), None, only=PARTS, overrides=overrides) as stack:
        yield Line(stack.url("gateway"), brain)
    brain.close()


@pytest.fixture
def line(running: Line) -> Iterator[Line]:
    """Every test begins and ends with a SomaBrain that is well and owes nobody."""
    yield running
    running.brain.always = None
    running.brain.next_answers.clear()
    afterwards = running.accept("the end of a test")
    eventually(lambda: running.has(afterwards), 60)


LATER = {
    **{str(code): status(code, {"detail": "not now"}) for code in (408, 425, 429, 500, 502, 503)},
    "429 with Retry-After": status(429, {"detail": "busy"}, retry_after="1"),
    "503 with garbage in Retry-After": status(503, b"<html>", retry_after="tomorrow"),
    "no answer": hang,
    "no connection": drop_at_once,
    "HTML with 200": status(200, b"<html>welcome</html>"),
    "200 with ok: false": status(200, {"ok": False, "detail": "full"}),
    "an endless body": endless,
    "broken headers": broken_headers,
}


@pytest.mark.parametrize("fault", LATER.values(), ids=LATER.keys())
def test_what_may_be_well_later_waits_and_is_remembered_then(line: Line, fault: Fault) -> None:
    line.brain.always = fault
    event_id = line.accept()
    eventually(lambda: line.waits(event_id), 60)
    assert not line.has(event_id)

    line.brain.always = None

    eventually(lambda: line.has(event_id) and line.work(event_id) is None, 60)
    assert [writes for at, writes in line.brain.writes.items() if at[3] == event_id] == [1]


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_memory_that_is_wrong_is_dead_with_the_answer_and_can_be_tried_again(line: Line, code: int) -> None:
    line.brain.always = status(code, {"detail": "the value is wrong"})
    event_id = line.accept()
    dead = eventually(lambda: line.dies(event_id), 60)
    assert str(code) in dead["reason"]
    assert "the value is wrong" in dead["reason"]
    line.brain.always = None
    assert line.health()["status"] != "down", "the memory was wrong, not SomaBrain"

    again = requests.post(f"{line.base}/v1/admin/work/memory/{event_id}/retry", timeout=10)

    assert again.status_code == 200
    eventually(lambda: line.has(event_id), 60)


@pytest.mark.parametrize("code", [401, 403])
def test_wrong_credentials_kill_no_memory_and_health_says_what_to_check(line: Line, code: int) -> None:
    line.brain.always = status(code, {"detail": "who are you"})
    event_id = line.accept()
    eventually(lambda: line.waits(event_id), 60)
    unwell = eventually(lambda: _unwell(line.health()), 60)
    assert "SOMA_API_KEY" in unwell["detail"]

    line.brain.always = None

    eventually(lambda: line.has(event_id), 60)


def _unwell(component: dict[str, Any]) -> Any:
    return component if component["status"] != "ok" and "SOMA_API_KEY" in component.get("detail", "") else None


@pytest.mark.parametrize("told", [{"queued": True}, {"persisted_to_ltm": False, "queued_for_ltm": False}])
def test_taken_but_not_kept_counts_as_remembered(line: Line, told: dict[str, Any]) -> None:
    said = {"ok": True, "coordinate": [0.1, 0.2, 0.3], **told}
    line.brain.always = status(200, {**said, "results": [said]})
    event_id = line.accept()

    eventually(lambda: line.work(event_id) is None, 60)


def test_every_attempt_says_whose_memory_it_is_and_is_the_same_request(line: Line) -> None:
    tenant = an_id("t-")
    line.brain.always = status(503, {"detail": "not now"})
    event_id = line.accept(tenant=tenant)
    eventually(lambda: line.waits(event_id), 60)
    line.brain.always = None
    eventually(lambda: line.has(event_id), 60)

    offers = [seen for seen in line.brain.seen if seen.path == "/memory/remember" and seen.json["key"] == event_id]

    assert len(offers) > 1
    assert {seen.headers["x-tenant-id"] for seen in offers} == {tenant}
    for name in ("x-request-id", "idempotency-key"):
        assert len({seen.headers[name] for seen in offers}) == 1
    assert all(seen.headers["traceparent"].startswith(TRACE[:35]) for seen in offers)
    assert offers[-1].json["value"]["idempotency_key"] == offers[-1].headers["idempotency-key"]


@pytest.mark.parametrize("code", [404, 500])
def test_a_version_that_cannot_delete_owes_the_forgetting_and_shows_no_error(line: Line, code: int) -> None:
    tenant = an_id("t-")
    event_id = line.accept("to be forgotten", tenant)
    eventually(lambda: line.has(event_id), 60)
    line.brain.always = status(code, {"detail": "no"})
    path = f"{line.base}/v1/memory/{event_id}"

    answer = requests.delete(path, params={"tenant": tenant}, timeout=10)

    assert (answer.status_code, answer.json()["deleted"], answer.json()["queued"]) == (202, False, True)
    wish = {"query": "forgotten", "tenant": tenant}
    found = requests.post(f"{line.base}/v1/memory/recall", json=wish, timeout=10).json()
    assert event_id not in [each["event_id"] for each in found["results"]]
    line.brain.always = None
    eventually(lambda: not line.has(event_id), 90)

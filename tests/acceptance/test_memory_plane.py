"""A memory is there in every state of the system: before SomaBrain has it, after, and nowhere once it is forgotten."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.stack import Stack
from tests.acceptance.following import call
from tests.builders import an_id
from tests.conftest import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def tenant() -> str:
    return an_id("t-")


@pytest.fixture
def without_brain(stack: Stack) -> Iterator[None]:
    """SomaBrain is away while the test begins; whatever happens it is back afterwards."""
    stack.down("brain")
    yield
    stack.up("brain")
    stack.wait_ready("brain")


def say(gateway: str, text: str, tenant: str, session_id: str) -> str:
    body = {"session_id": session_id, "message": text, "metadata": {"tenant": tenant}}
    return str(call(gateway, "/v1/session/message", body)["event_id"])


def recall(gateway: str, query: str, tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = call(gateway, "/v1/memory/recall", {"query": query, "tenant": tenant, "top_k": 50})
    return found


def told(recalled: dict[str, Any], event_id: str) -> list[str]:
    """Where this memory was found, as often as it was."""
    return [found["source"] for found in recalled["results"] if found["event_id"] == event_id]


def forget(gateway: str, event_id: str, tenant: str) -> int:
    url = f"{gateway}/v1/memory/{event_id}?tenant={tenant}"
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10) as answer:
        json.load(answer)
        return int(answer.status)


def browsed(gateway: str, event_id: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = call(gateway, f"/v1/admin/memory/{event_id}")
    except urllib.error.HTTPError:
        return None
    return found


@pytest.mark.usefixtures("without_brain")
def test_a_name_said_in_one_session_is_known_in_another_with_somabrain_away_and_back(stack: Stack, tenant: str) -> None:
    gateway = stack.url("gateway")
    event_id = say(gateway, "my name is Ada", tenant, an_id("s-"))
    say(gateway, "what is my name?", tenant, an_id("s-"))

    meanwhile = recall(gateway, "what is my name?", tenant)
    assert meanwhile["degraded"]
    assert told(meanwhile, event_id) == ["pending"]

    stack.up("brain")
    stack.wait_ready("brain")
    afterwards = eventually(lambda: _healthy(recall(gateway, "what is my name?", tenant), event_id), 90)
    assert told(afterwards, event_id) == ["brain"]


def _healthy(recalled: dict[str, Any], event_id: str) -> dict[str, Any] | None:
    return recalled if not recalled["degraded"] and told(recalled, event_id) == ["brain"] else None


def test_a_forgotten_memory_is_gone_from_recall_and_a_tombstone_for_administrators(stack: Stack, tenant: str) -> None:
    gateway = stack.url("gateway")
    event_id = say(gateway, "my secret is the axolotl", tenant, an_id("s-"))
    eventually(lambda: browsed(gateway, event_id), 60)
    assert told(recall(gateway, "axolotl", tenant), event_id) == ["brain"]

    assert forget(gateway, event_id, tenant) in (200, 202)

    assert not told(recall(gateway, "axolotl", tenant), event_id)
    buried = eventually(lambda: _tombstone(browsed(gateway, event_id)), 60)
    assert buried["payload"] == {}


def _tombstone(item: dict[str, Any] | None) -> dict[str, Any] | None:
    return item if item is not None and item["deleted_at"] else None


@pytest.mark.usefixtures("without_brain")
def test_what_is_forgotten_while_somabrain_is_away_never_comes_back(stack: Stack, tenant: str) -> None:
    gateway = stack.url("gateway")
    event_id = say(gateway, "my secret is the okapi", tenant, an_id("s-"))

    assert forget(gateway, event_id, tenant) == 202
    assert not told(recall(gateway, "okapi", tenant), event_id)
    assert eventually(lambda: _tombstone(browsed(gateway, event_id)), 60), "the log and the replica do not wait for it"

    stack.up("brain")
    stack.wait_ready("brain")
    eventually(lambda: forget(gateway, event_id, tenant) == 200, 90)
    assert not told(recall(gateway, "okapi", tenant), event_id)

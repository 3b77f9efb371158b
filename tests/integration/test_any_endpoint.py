"""One setting is enough: a worker and a door in front of an endpoint that behaves as Ollama does."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from app.domain.errors import ModelRefused
from app.domain.profiles import ProfileRole, ProfileWish
from app.services.conversation import Conversation, Meter
from app.services.converse import converse
from app.settings import read
from app.wiring.conversing import conversation_of
from app.wiring.process import Process
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.fakes import RecordingDoorbell
from tests.fakes_parts import always_in_company
from tests.integration.gateway_process import Gateway
from tests.unit.model_peer import Line, ModelPeer


def as_ollama(line: Line) -> None:
    """Words, no usage; it knows only models that it has."""
    if line.body["model"] != "llama3.2:latest":
        line.answer(404, b'{"error": {"message": "model not found, try pulling it first"}}')
        return
    line.begin()
    line.say("It ", "works.", finish="stop")
    line.event("[DONE]")


@pytest.fixture(scope="module")
def ollama() -> Iterator[ModelPeer]:
    peer = ModelPeer(as_ollama, [{"id": "llama3.2:latest", "object": "model", "owned_by": "library"}])
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def environment(servers: Stack, ollama: ModelPeer) -> dict[str, str]:
    return {**servers.environment, "LLM_BASE_URL": ollama.base}


@pytest.fixture(scope="module")
def gateway(environment: dict[str, str]) -> Iterator[Gateway]:
    running = Gateway(environment).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def worker(environment: dict[str, str]) -> Iterator[Conversation]:
    process = Process(
        read({**environment, "PROCESS_NAME": "worker-conversation", "SOMA_BASE_URL": "http://127.0.0.1:1"})
    )
    eventually(process.presence.is_known)
    yield replace(conversation_of(process, Meter(), always_in_company), doorbell=RecordingDoorbell())
    process.presence.stop()


def _knows(worker: Conversation, name: str) -> bool:
    """Whether the worker has heard of this profile: within two seconds."""
    with suppress(ModelRefused):
        return bool(worker.preparation.roster.candidates(ProfileWish(ProfileRole.DIALOGUE, "public", name)))
    return False


def final(gateway: Gateway, session_id: str) -> dict[str, object]:
    events = gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
    payload: dict[str, object] = events[-1]["payload"]
    return payload


def test_an_ollama_needs_its_address_and_everything_says_which_model_answers(
    gateway: Gateway, worker: Conversation
) -> None:
    receipt = gateway.say("does it work?")

    assert converse(receipt["event_id"], worker) == "done"

    said = final(gateway, receipt["session_id"])
    assert (said["type"], said["message"]) == ("assistant.final", "It works.")
    assert said["metadata"]["source"] == "llama3.2:latest"  # type: ignore[index]
    eventually(lambda: "llama3.2:latest" in gateway.get("/v1/health").json()["components"]["model"].get("detail", ""))


def test_a_profile_is_asked_by_its_name_and_a_name_that_is_none_gets_a_clear_answer(
    gateway: Gateway, worker: Conversation, ollama: ModelPeer
) -> None:
    name = an_id("p-").lower()
    body = {"name": name, "base_url": ollama.base, "model": "llama3.2:latest", "api_key": "k-of-this-profile-1"}
    assert gateway.call("POST", "/v1/model-profiles", json=body).status_code == 201

    eventually(lambda: _knows(worker, name))
    chosen = gateway.post({"message": "hello", "session_id": an_id("s-")}, **{"X-Agent-Profile": name}).json()

    assert converse(chosen["event_id"], worker) == "done"

    assert ollama.lines[-1].headers["authorization"] == "Bearer k-of-this-profile-1"
    unknown = gateway.post({"message": "hello", "session_id": an_id("s-")}, **{"X-Agent-Profile": "nobody"}).json()
    assert converse(unknown["event_id"], worker) == "failed"
    said = final(gateway, unknown["session_id"])
    assert said["type"] == "assistant.error"
    assert "There is no model profile named nobody" in str(said["metadata"])

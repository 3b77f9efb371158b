"""The official Node client, unmodified, on a gateway: chat, streams, tools, responses, errors."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.conftest import ROOT
from tests.integration.gateway_process import Answerer, Gateway
from tests.integration.openai_stage import Worker
from tests.node_client import run_node

SAID = "You said: hello"


@pytest.fixture(scope="module")
def told(
    gateway: Gateway, answerer: Answerer, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the client got in every scene."""
    worker = Worker(answerer, engine).start()
    try:
        results: dict[str, Any] = run_node("client.mjs", tmp_path_factory.mktemp("node"), f"{gateway.base}/v1")
    finally:
        worker.stop()
    return results


def test_a_chat_is_the_same_whole_and_streamed(told: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": len(SAID), "total_tokens": 7 + len(SAID)}

    assert told["chat"] == told["chatStream"] == {"text": SAID, "finish": "stop", "usage": usage}


def test_tools_of_the_caller_are_run_by_the_clients_own_runner(told: dict[str, Any]) -> None:
    assert told["chatTool"] == {"text": "It is sunny in Oslo."}
    assert told["chatToolStream"] == {"finish": "tool_calls", "name": "weather", "arguments": '{"city": "Oslo"}'}
    assert told["responseTool"] == {"text": "It is sunny in Oslo."}


def test_a_response_is_answered_streamed_and_found_again(told: dict[str, Any]) -> None:
    assert told["response"] == {"status": "completed", "text": "You said: Be kind. | hello", "same": True}
    assert told["responseStream"]["text"] == SAID
    assert told["responseStream"]["types"][0] == "response.created"
    assert told["responseStream"]["types"][-1] == "response.completed"


def test_a_stream_in_the_background_is_resumed_without_gap_or_repeat(told: dict[str, Any]) -> None:
    assert told["background"]["resumed"]
    assert told["background"]["text"] == told["background"]["whole"] == "You said: tell me more"


def test_models_and_errors_are_those_of_the_client(told: dict[str, Any]) -> None:
    assert told["models"]["names"][0] == "default"
    assert told["errors"]["unknown"] == {
        "kind": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model",
    }  # fmt: skip
    assert told["errors"]["several"] == {"kind": "BadRequestError", "status": 400, "param": "n"}


def test_the_lock_file_names_no_registry_and_keeps_the_digests() -> None:
    lock = (ROOT / "tests" / "node" / "package-lock.json").read_text()

    assert "http" not in lock
    assert '"integrity": "sha512-' in lock

"""The official OpenAI clients on the whole running system, with the real model and a worker that is killed."""

from pathlib import Path
from typing import Any

import pytest
from openai import APIConnectionError, OpenAI

from devstack.stack import Stack
from tests.conftest import eventually
from tests.node_client import run_node

pytestmark = pytest.mark.servers
STORY = "Write a long story about a boat and a lighthouse."


@pytest.fixture(scope="module")
def client(stack: Stack) -> OpenAI:
    return OpenAI(base_url=f"{stack.url('gateway')}/v1", api_key="anything", timeout=120)


def test_a_chat_and_a_response_are_answered_by_the_model(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Say hello."}]
    chunks = client.chat.completions.create(model="default", messages=messages, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    made = client.responses.create(model="default", input="Say hello.")

    assert said
    assert made.output_text
    assert made.status in ("completed", "incomplete")
    assert made.usage is not None
    assert made.usage.output_tokens > 0


def test_the_node_client_is_answered_by_the_model(stack: Stack, tmp_path: Path) -> None:
    told = run_node("story.mjs", tmp_path, f"{stack.url('gateway')}/v1")

    assert told["chat"]
    assert told["streamed"] == told["whole"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", ["worker-conversation", "gateway"])
def test_whatever_is_killed_in_the_middle_the_next_call_gives_the_whole_answer(
    stack: Stack, client: OpenAI, part: str
) -> None:
    made = client.responses.create(model="default", input=STORY, background=True)
    deltas = 0
    for event in client.responses.retrieve(made.id, stream=True):
        deltas += event.type == "response.output_text.delta"
        if deltas > 5:
            break

    stack.kill(part)

    whole = eventually(lambda: _ended(client, made.id), 200)
    again = client.responses.retrieve(made.id, stream=True)
    said = "".join(event.delta for event in again if event.type == "response.output_text.delta")
    assert said == whole.output_text


def _ended(client: OpenAI, response_id: str) -> Any:
    try:
        found = client.responses.retrieve(response_id)
    except APIConnectionError:
        return None
    return found if found.status in ("completed", "incomplete") else None

"""Tool calls of a real model: llama.cpp, whose grammar makes each a valid one, asked by the whole running system.

Every test has a tenant of its own: what else is remembered would be told to the model, and change what it says.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from openai import OpenAI

from devstack.stack import Stack
from tests.acceptance.following import ENDINGS
from tests.acceptance.talking import known_profile
from tests.acceptance.tool_llama import CALLS
from tests.architecture.source import ROOT
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import GatewayClient, free_port

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
    },
}


@contextmanager
def llama() -> Iterator[str]:
    """Its address, for as long as the block runs."""
    port = free_port()
    words = (sys.executable, "-m", "tests.acceptance.tool_llama", str(port))
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _is_ready(port))
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def profile(stack: Stack) -> Iterator[str]:
    """The name of a profile whose model calls tools."""
    name, client = an_id("llama-")[:40], GatewayClient(stack.url("gateway"))
    asked = {"model": "any", "temperature": 0, "output_tokens": 120, "extra": CALLS}
    with llama() as base, known_profile(client, name, base, **asked):
        yield name


def test_a_trial_of_it_says_that_it_calls_tools(stack: Stack, profile: str) -> None:
    told = requests.post(f"{stack.url('gateway')}/v1/model-profiles/{profile}/test", timeout=60).json()

    assert (told["ok"], told["tools"], told["reports_usage"]) == (True, "used", True), told


def test_a_tool_that_it_asks_for_runs_and_its_result_is_told_to_it(stack: Stack, profile: str) -> None:
    client = GatewayClient(stack.url("gateway"))
    accepted = client.say("Echo the text hello.", metadata={"agent_profile_id": profile, "tenant": an_id("t-")})
    session_id = accepted["session_id"]

    def events() -> list[dict[str, Any]]:
        listed = client.get(f"/v1/sessions/{session_id}/events").json()["events"]
        return [event["payload"] for event in listed]

    eventually(lambda: any(event["type"] in ENDINGS for event in events()), 120)
    found = events()
    results = [event for event in found if event["type"] == "tool.result"]
    assert results
    assert {(result["tool_name"], result["status"]) for result in results} == {("echo", "success")}
    assert all(result["payload"]["text"] for result in results)
    assert found[-1]["type"] == "assistant.final"
    assert found[-1]["message"]
    assert found[-1]["metadata"]["attempt"] >= 2, "it was asked again with the results"


def test_a_callers_own_tool_is_called_through_the_official_client(stack: Stack, profile: str) -> None:
    client = OpenAI(base_url=f"{stack.url('gateway')}/v1", api_key="anything", timeout=120)
    asked: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    tools: Any = [{"type": "function", "function": WEATHER}]

    first = client.chat.completions.create(model=profile, messages=asked, tools=tools, metadata={"tenant": an_id("t-")})
    said = first.choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in said.tool_calls or ()]
    told = [*asked, said.model_dump(exclude_none=True), *results]
    then = client.chat.completions.create(model=profile, messages=told, tools=tools, tool_choice="none")

    assert first.choices[0].finish_reason == "tool_calls", said
    assert results
    for call in said.tool_calls or ():
        assert call.type == "function"
        assert call.function.name == "weather"
        assert set(json.loads(call.function.arguments)) == {"city"}
    assert then.choices[0].message.content
    assert not then.choices[0].message.tool_calls

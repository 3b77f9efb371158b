"""What the policy decides, over HTTP on real servers: a no is told, no decision is no yes, nothing accepted is lost."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.domain.policy import Policy
from app.routing import ProcessName, command
from app.settings import read
from app.wiring.deciding import policy_of
from app.wiring.process import SystemClock
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import ROOT, eventually
from tests.fakes import ScriptedModel, ScriptedPolicy
from tests.integration.gateway_process import Answerer, Gateway, assert_problem
from tests.scripted_api import Asked, Reply, ScriptedApi

PATH = "/v1/data/soma/policy/allow"
DENIED = ScriptedPolicy(says=False)


class Opa:
    """A scripted OPA: what it says is up to the test."""

    def __init__(self) -> None:
        self.api = ScriptedApi()
        self.says: Reply = Reply({"result": True})
        self.seconds = 0.0
        self.api.on("POST", PATH, self._answer)

    def _answer(self, _: Asked) -> Reply:
        time.sleep(self.seconds)
        return self.says

    @property
    def inputs(self) -> list[dict[str, Any]]:
        asked = [each.json["input"] for each in self.api.asked]
        return [given for given in asked if given["action"] != "health"]


@pytest.fixture(scope="module")
def running_opa() -> Iterator[tuple[Opa, str]]:
    opa = Opa()
    with opa.api.running() as address:
        yield opa, address


@pytest.fixture
def opa(running_opa: tuple[Opa, str]) -> Iterator[Opa]:
    found, _ = running_opa
    found.says, found.seconds = Reply({"result": True}), 0.0
    found.api.asked.clear()
    yield found
    found.says, found.seconds = Reply({"result": True}), 0.0


@pytest.fixture(scope="module")
def environment(servers: Stack, running_opa: tuple[Opa, str]) -> dict[str, str]:
    return {**servers.environment, "OPA_URL": running_opa[1], "POLICY_CACHE_TTL": "0", "GATEWAY_WORKERS": "1"}


@pytest.fixture(scope="module")
def gateway(environment: dict[str, str]) -> Iterator[Gateway]:
    running = Gateway(environment, LLM_BASE_URL="http://127.0.0.1:1/v1").start()
    yield running
    running.stop()


@pytest.fixture
def policy(environment: dict[str, str]) -> Policy:
    return policy_of(read(environment), SystemClock())


def ask(gateway: Gateway, session_id: str = "") -> requests.Response:
    body = {"session_id": session_id or an_id("s-"), "tool_name": "echo", "args": {"text": "hi"}}
    return gateway.call("POST", "/v1/tool/request", json=body)


def types(gateway: Gateway, session_id: str) -> list[str]:
    events = gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
    return [event["payload"]["type"] for event in events]


def once_it_is_asked(gateway: Gateway) -> None:
    """The breaker's pause is over: a decision is to be had."""
    eventually(lambda: ask(gateway).status_code == 200)


def test_a_call_of_a_tool_is_kept_only_after_a_yes(gateway: Gateway, opa: Opa) -> None:
    assert ask(gateway).status_code == 200

    (given,) = opa.inputs
    assert (given["action"], given["resource"], given["tenant"]) == ("tool.run", "echo", "public")
    assert given["context"] == {"effect": "read", "args": {"text": "hi"}}


def test_a_no_is_told_in_plain_words_and_nothing_is_kept(gateway: Gateway, opa: Opa) -> None:
    opa.says = Reply({"result": False})
    session_id = an_id("s-")

    answer = ask(gateway, session_id)

    assert_problem(answer, 403, "does not allow this call of the tool echo")
    assert gateway.get(f"/v1/sessions/{session_id}/events").status_code == 404


@pytest.mark.parametrize("nonsense", [Reply({}), Reply({"result": "true"}), Reply(b"<html>"), Reply({}, 500)])
def test_without_a_decision_a_call_is_told_to_come_again(gateway: Gateway, opa: Opa, nonsense: Reply) -> None:
    opa.says = nonsense
    session_id = an_id("s-")
    began = time.monotonic()

    answer = ask(gateway, session_id)

    assert_problem(answer, 503, "Try again in")
    assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - began < 2
    assert gateway.get(f"/v1/sessions/{session_id}/events").status_code == 404
    opa.says = Reply({"result": True})
    once_it_is_asked(gateway)


def test_a_slow_opa_costs_a_request_less_than_two_seconds(gateway: Gateway, opa: Opa) -> None:
    opa.seconds = 5.0
    began = time.monotonic()

    assert_problem(ask(gateway), 503)

    assert time.monotonic() - began < 2
    opa.seconds = 0.0
    once_it_is_asked(gateway)


def test_health_says_whether_decisions_can_be_had(gateway: Gateway, opa: Opa) -> None:
    def health() -> dict[str, str]:
        found: dict[str, str] = gateway.get("/v1/health").json()["components"]["policy"]
        return found

    eventually(lambda: health()["status"] == "ok")
    opa.says = Reply({"result": "maybe"})
    eventually(lambda: health()["status"] == "degraded")
    opa.seconds = 5.0
    eventually(lambda: health()["status"] == "down")


def test_a_message_is_accepted_without_a_decision_waits_for_one_and_is_answered(
    gateway: Gateway, opa: Opa, answerer: Answerer, policy: Policy
) -> None:
    opa.says = Reply({}, 500)
    receipt = gateway.say("hello")
    model = ScriptedModel(["Here ", "I am."])

    assert answerer.answer_with(receipt["event_id"], model, policy=policy) == "undecided"

    assert (types(gateway, receipt["session_id"]), model.calls) == (["user", "assistant.started"], [])
    opa.says = Reply({"result": True})
    eventually(lambda: answerer.answer_with(receipt["event_id"], model, policy=policy) == "done")
    assert types(gateway, receipt["session_id"])[-1] == "assistant.final"


def test_a_message_that_is_not_allowed_ends_its_stream_with_why(
    gateway: Gateway, answerer: Answerer, engine: Engine
) -> None:
    receipt = gateway.say("hello", metadata={"agent_profile_id": "secret"})
    model = ScriptedModel(["Here I am."])
    with gateway.sse(receipt["session_id"]) as items:
        assert answerer.answer_with(receipt["event_id"], model, policy=DENIED) == "denied"
        last = next(item for item in items if item["type"] == "policy.denied")

    reason = "The policy of this installation does not allow an answer to this message."
    assert last["metadata"]["policy"] == {"action": "conversation.respond", "resource": "secret", "reason": reason}
    assert (last["role"], model.calls) == ("assistant", [])
    with engine.begin() as connection:
        row = connection.execute(
            text("SELECT state, last_error FROM turns WHERE event_id = :id"), {"id": receipt["event_id"]}
        ).one()
        held = connection.execute(
            text("SELECT count(*) FROM token_reservations WHERE event_id = :id"), {"id": receipt["event_id"]}
        ).scalar_one()
    assert (row.state, row.last_error, held) == ("failed", reason, 0)


def test_after_a_no_the_session_goes_on_and_the_message_can_be_asked_again(
    gateway: Gateway, answerer: Answerer
) -> None:
    refused = gateway.say("hello")
    session_id = refused["session_id"]
    answerer.answer_with(refused["event_id"], ScriptedModel(["no"]), policy=DENIED)

    again = gateway.call("POST", f"/v1/session/{session_id}/regenerate", json={}).json()

    assert answerer.answer(again["event_id"], "Yes.") == "done"
    assert types(gateway, session_id)[-1] == "assistant.final"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_of_openai_is_told_in_its_own_shape(
    gateway: Gateway, answerer: Answerer, engine: Engine, stream: bool
) -> None:
    session_id = an_id("s-")
    body = {
        "model": "default", "messages": [{"role": "user", "content": "hi"}], "stream": stream,
        "metadata": {"session_id": session_id},
    }  # fmt: skip

    def queued() -> str | None:
        with engine.begin() as connection:
            statement = text("SELECT event_id FROM turns WHERE session_id = :id")
            return connection.execute(statement, {"id": session_id}).scalar_one_or_none()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.call, "POST", "/v1/chat/completions", json=body)
        eventually(lambda: queued() is not None)
        answerer.answer_with(queued() or "", ScriptedModel(["no"]), policy=DENIED)
        answer = asked.result(20)

    assert answer.status_code == (200 if stream else 403)
    assert '"policy_denied"' in answer.text
    assert "does not allow an answer to this message" in answer.text
    assert ("data: [DONE]" in answer.text) is False


def test_a_gateway_on_broken_rego_does_not_start_and_says_where(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.rego").write_text("package soma.policy\n\ndefault allow := \n")
    variables = {**environment, "OPA_URL": "", "POLICY_DIR": str(tmp_path), "PROCESS_NAME": "gateway"}

    argv = [sys.executable, "-m", *command(ProcessName.GATEWAY)]
    ended = subprocess.run(argv, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode != 0
    assert "mine.rego, line 3: Invalid assignment operator; correct it" in ended.stderr

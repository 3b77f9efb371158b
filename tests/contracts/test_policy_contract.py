"""What every `Policy` promises: a yes or a no to what its rules say, and nothing at all where they say nothing."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.http.opa import OpaPolicy
from app.adapters.rego import RegoPolicy
from app.domain.errors import PolicyUnavailable
from app.domain.policy import Policy, PolicyQuestion
from tests.fakes import ScriptedPolicy
from tests.scripted_api import Asked, Reply, ScriptedApi

PATH = "/v1/data/soma/policy/allow"
RULES = """
package soma.policy

default allow := false

allow if input.action == "conversation.respond"

allow if {
    input.action == "tool.run"
    input.resource in {"echo", "recall"}
    not denied
}

allow := "perhaps" if input.resource == "riddle"

denied if input.tenant in data.soma.blocked_tenants

denied if startswith(input.context.args.text, "rm ")
"""
QUESTION = PolicyQuestion("t1", "p1", "tool.run", "echo", {"effect": "read", "args": {"text": "hi"}})
Rig = Callable[[], Policy]


def _as_the_rules_say(asked: Asked) -> Reply:
    """OPA with these rules; a peer in its place, which speaks its protocol and keeps its own copy of them."""
    given = asked.json["input"]
    if given["resource"] == "riddle":
        return Reply({"result": "perhaps"})
    text = str(given["context"].get("args", {}).get("text", ""))
    denied = given["tenant"] == "blocked" or text.startswith("rm ")
    runs = given["action"] == "tool.run" and given["resource"] in ("echo", "recall") and not denied
    return Reply({"result": given["action"] == "conversation.respond" or runs})


@pytest.fixture
def opa() -> Iterator[Policy]:
    api = ScriptedApi()
    api.on("POST", PATH, _as_the_rules_say)
    with api.running() as address:
        yield OpaPolicy(address + PATH)


@pytest.fixture
def rego(tmp_path: Path) -> Policy:
    (tmp_path / "rules.rego").write_text(RULES)
    (tmp_path / "data.json").write_text(json.dumps({"soma": {"blocked_tenants": ["blocked"]}}))
    return RegoPolicy(tmp_path)


@pytest.fixture(params=["rego", "opa"])
def policy(request: pytest.FixtureRequest) -> Policy:
    found: Policy = request.getfixturevalue(request.param)
    return found


def test_what_is_allowed_is_a_yes(policy: Policy) -> None:
    assert policy.decide(QUESTION).allowed
    assert policy.decide(replace(QUESTION, action="conversation.respond", resource="any")).allowed


@pytest.mark.parametrize("change", [
    {"resource": "rm"}, {"action": "tool.forge"}, {"tenant": "blocked"}, {"context": {"args": {"text": "rm -r"}}},
])  # fmt: skip
def test_everything_else_is_a_no_with_words(policy: Policy, change: dict[str, str]) -> None:
    decision = policy.decide(replace(QUESTION, **change))  # type: ignore[arg-type]

    assert not decision.allowed
    assert decision.reason.startswith("The policy of this installation does not allow")


def test_a_refused_tool_is_named(policy: Policy) -> None:
    assert "the tool rm." in policy.decide(replace(QUESTION, resource="rm")).reason


def test_an_answer_that_is_neither_yes_nor_no_is_no_decision(policy: Policy) -> None:
    with pytest.raises(PolicyUnavailable):
        policy.decide(replace(QUESTION, resource="riddle"))

    assert policy.decide(QUESTION).allowed


@pytest.mark.parametrize("odd", ["", 'a"b\n\\c', "é😀", "\x00", "}{", "x" * 30_000])
def test_whatever_stands_in_a_question_is_decided(policy: Policy, odd: str) -> None:
    question = replace(QUESTION, tenant=odd, persona_id=None, context={"args": {"text": odd, "n": [1.5, None, {}]}})

    assert policy.decide(question).allowed


def test_it_says_that_it_is_well(policy: Policy) -> None:
    assert policy.standing().status == "ok"


def test_the_scripted_one_of_the_tests_answers_as_the_others_do() -> None:
    assert ScriptedPolicy().decide(QUESTION).allowed
    assert "the tool echo." in ScriptedPolicy(says=False).decide(QUESTION).reason
    with pytest.raises(PolicyUnavailable):
        ScriptedPolicy(says=None).decide(QUESTION)

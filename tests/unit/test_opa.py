"""OPA over HTTP, in bounded time: whatever it does, only its yes is a yes."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.adapters.http.breaker import Breaker
from app.adapters.http.opa import OpaPolicy
from app.adapters.kept_decisions import KeptDecisions
from app.domain.errors import PolicyUnavailable
from app.domain.policy import PolicyQuestion
from tests.fakes import FakeClock, ScriptedPolicy
from tests.scripted_api import Asked, Reply, ScriptedApi

PATH = "/v1/data/soma/policy/allow"
QUESTION = PolicyQuestion("t1", "p1", "tool.run", "echo", {"args": {"text": "hi"}}, ("chat",))
YES, NO = Reply({"result": True}), Reply({"result": False})
NONSENSE = [
    Reply({}),
    Reply({"result": "true"}),
    Reply({"result": 1}),
    Reply({"result": None}),
    Reply({"result": {"allow": True}}),
    Reply({"result": True, "warning": {"code": "api_usage_warning"}}),
    Reply([True]),
    Reply(True),
    Reply(b"<html>true</html>"),
    Reply(b""),
    Reply(b'{"result": true, "result": true}'),
    Reply(b"\xff\xfe"),
    Reply({"result": True}, 500),
    Reply({"result": True}, 201),
    Reply({"result": True}, 302, {"Location": "/elsewhere"}),
    Reply(b'{"result": true, "decision_id": "' + b"x" * 100_000 + b'"}'),
    Reply(breaks=True),
    Reply(parts=(b'{"result": ',), breaks=True),
]


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


@pytest.fixture
def base(api: ScriptedApi) -> Iterator[str]:
    with api.running() as address:
        yield address


def opa(base: str, failures: int = 100) -> OpaPolicy:
    return OpaPolicy(base + PATH, breaker=Breaker(failures, 60.0, 60.0))


def test_it_is_asked_in_the_shape_that_its_policies_know(api: ScriptedApi, base: str) -> None:
    api.on("POST", PATH, YES)

    assert opa(base).decide(QUESTION).allowed

    assert api.asked[0].json == {
        "input": {
            "tenant": "t1", "persona_id": "p1", "action": "tool.run", "resource": "echo",
            "context": {"args": {"text": "hi"}}, "scopes": ["chat"],
        }
    }  # fmt: skip


def test_an_opa_that_numbers_its_decisions_is_understood(api: ScriptedApi, base: str) -> None:
    api.on("POST", PATH, Reply({"decision_id": "d-1", "result": True}))

    assert opa(base).decide(QUESTION).allowed


@pytest.mark.parametrize("reply", NONSENSE)
def test_nothing_but_a_yes_allows_anything(api: ScriptedApi, base: str, reply: Reply) -> None:
    api.on("POST", PATH, reply)

    with pytest.raises(PolicyUnavailable):
        opa(base).decide(QUESTION)


def test_an_opa_that_is_slow_is_not_waited_for(api: ScriptedApi, base: str) -> None:
    def slow(_: Asked) -> Reply:
        time.sleep(3)
        return YES

    api.on("POST", PATH, slow)
    began = time.monotonic()

    with pytest.raises(PolicyUnavailable, match="timeout"):
        opa(base).decide(QUESTION)

    assert time.monotonic() - began < 2


def test_an_opa_that_fails_again_and_again_is_left_in_peace_for_a_moment(api: ScriptedApi, base: str) -> None:
    api.on("POST", PATH, Reply({}, 500))
    policy = opa(base, failures=2)
    for _ in range(4):
        with pytest.raises(PolicyUnavailable) as refused:
            policy.decide(QUESTION)

    assert len(api.asked) == 2
    assert refused.value.retry_after is not None


def test_seeing_it_well_ends_that_pause(api: ScriptedApi, base: str) -> None:
    api.on("POST", PATH, Reply({}, 500), YES)
    policy = opa(base, failures=1)
    with pytest.raises(PolicyUnavailable):
        policy.decide(QUESTION)

    assert policy.standing().status == "ok"

    assert policy.decide(QUESTION).allowed


def test_health_tells_one_that_is_away_from_one_that_talks_nonsense(api: ScriptedApi, base: str) -> None:
    api.on("POST", PATH, Reply({}))

    assert opa(base).standing().status == "degraded"
    assert opa("http://127.0.0.1:1").standing().status == "down"


@pytest.mark.parametrize("says", [True, False])
def test_a_decision_is_kept_for_its_time_and_no_longer(says: bool) -> None:
    clock, asked = FakeClock(), ScriptedPolicy(says)
    policy = KeptDecisions(asked, 2.0, clock)
    policy.decide(QUESTION)
    asked.says = not says

    clock.advance(1.9)
    assert policy.decide(QUESTION).allowed is says
    clock.advance(0.1)
    assert policy.decide(QUESTION).allowed is not says


def test_a_decision_on_something_else_is_not_taken_for_this_one() -> None:
    asked = ScriptedPolicy()
    policy = KeptDecisions(asked, 2.0, FakeClock())

    for change in ({}, {"tenant": "t2"}, {"persona_id": None}, {"scopes": ()}, {"context": {"args": {}}}):
        policy.decide(replace(QUESTION, **change))  # type: ignore[arg-type]

    assert len(asked.asked) == 5


def test_that_nobody_decided_is_not_kept() -> None:
    asked = ScriptedPolicy(None)
    policy = KeptDecisions(asked, 2.0, FakeClock())
    with pytest.raises(PolicyUnavailable):
        policy.decide(QUESTION)

    asked.says = True

    assert policy.decide(QUESTION).allowed


def test_only_so_many_decisions_are_kept_and_the_least_used_make_room() -> None:
    asked = ScriptedPolicy()
    policy = KeptDecisions(asked, 2.0, FakeClock(), most=2)
    for tenant in ("a", "b", "a", "c"):
        policy.decide(replace(QUESTION, tenant=tenant))
    before = len(asked.asked)

    policy.decide(replace(QUESTION, tenant="a"))
    assert len(asked.asked) == before
    policy.decide(replace(QUESTION, tenant="b"))
    assert len(asked.asked) == before + 1


def test_without_a_time_nothing_is_kept() -> None:
    asked = ScriptedPolicy()
    policy = KeptDecisions(asked, 0, FakeClock())

    policy.decide(QUESTION)
    policy.decide(QUESTION)

    assert len(asked.asked) == 2

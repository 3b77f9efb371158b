"""What can happen to OPA: it is down, slow, or answers nonsense. Nothing may be allowed meanwhile, and nothing lost."""

import time
from collections.abc import Callable
from functools import partial

import requests

from drills.opa_peer import Manner, OpaPeer
from drills.tool_faults import TOOLS
from drills.trouble import Stage

_FRESH_SECONDS = 3.0
"""Decisions are kept for two: after that nobody may live on an old yes."""
_BEGUN = """
    SELECT count(*) FROM session_events
    WHERE tenant = %(tenant)s AND type = 'assistant.thinking' AND created_at > %(since)s
"""
_STATES = "SELECT state FROM tool_calls WHERE tenant = %(tenant)s"
_NOW = "SELECT clock_timestamp()"
_PAUSE_SECONDS, _HEALED_SECONDS = 0.5, 30.0


def opa_of(stage: Stage) -> OpaPeer:
    """The stage's OPA, which has to be one of the drill's own."""
    assert stage.opa is not None, "this fault needs an OPA of the drill's own"
    return stage.opa


def fail_to_decide(stage: Stage) -> None:
    """Down, then slow, then full of nonsense, each for 11 s; what waited is answered in between."""
    opa = opa_of(stage)
    _while(stage, opa.down, opa.up, "down")
    for manner in (Manner.SLOW, Manner.NONSENSE):
        _while(stage, partial(_behave, opa, manner), partial(_behave, opa, Manner.YES), manner.value)
    with stage.joined_by(TOOLS):
        stage.later.append(_allowed_again(stage))


def _allowed_again(stage: Stage) -> Callable[[], list[str]]:
    """Once OPA is well a tool is asked for, run and answered; what is wrong with that."""
    until = time.monotonic() + _HEALED_SECONDS
    accepted = _ask(stage).ok
    while time.monotonic() < until and not (accepted and _succeeded(stage)):
        time.sleep(_PAUSE_SECONDS)
        accepted = accepted or _ask(stage).ok
    wrong = [] if accepted and _succeeded(stage) else ["a tool was not run though OPA was well again"]
    return lambda: wrong


def _succeeded(stage: Stage) -> bool:
    states = [state for (state,) in stage.sql(_STATES, tenant=f"{stage.target.tenant}-policy")]
    return bool(states) and set(states) == {"succeeded"}


def _behave(opa: OpaPeer, manner: Manner) -> None:
    opa.manner = manner


def _while(stage: Stage, begin: Callable[[], None], end: Callable[[], None], how: str) -> None:
    begin()
    try:
        time.sleep(_FRESH_SECONDS)
        found = _judged(stage, how)
    finally:
        end()
    stage.later.append(lambda: found)
    stage.rest(10)


def _judged(stage: Stage, how: str) -> list[str]:
    """What was allowed while nobody decided, and which refusals were no 503 with Retry-After, in time."""
    since = stage.sql(_NOW)[0][0]
    until, found, refused = time.monotonic() + max(8 * stage.scale, 4), [], 0
    while time.monotonic() < until:
        began = time.monotonic()
        answer = _ask(stage)
        took = time.monotonic() - began
        if answer.status_code == 503 and "Retry-After" in answer.headers and took < 2:
            refused += 1
        else:
            found.append(f"OPA {how}: a tool request was answered {answer.status_code} after {took:.1f} s")
        time.sleep(_PAUSE_SECONDS)
    begun = int(stage.sql(_BEGUN, since=since)[0][0])
    found += [f"OPA {how}: {begun} answers were begun without a decision"] if begun else []
    stage.felt += refused > 0
    stage.figures[f"tool requests refused while OPA was {how}"] = refused
    return found


def _ask(stage: Stage) -> requests.Response:
    body = {
        "session_id": f"{stage.target.tenant}-policy",
        "tool_name": "timestamp",
        "args": {},
        "metadata": {"tenant": f"{stage.target.tenant}-policy"},
    }
    return requests.post(f"{stage.target.gateway}/v1/tool/request", json=body, timeout=10)

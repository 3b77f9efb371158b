"""What can happen to tools: their worker is asked to end while they run."""

import time
from collections import Counter
from dataclasses import dataclass

import requests

from drills.slow_tool import LEDGER
from drills.trouble import Stage

TOOLS = "worker-tools"
MODULES = "drills.slow_tool"
SECONDS = 20.0
CALLS_OF_EACH = 3
RUNNING_SECONDS = 30.0
SETTLE_SECONDS = 150.0
_STATES = "SELECT call_id, state FROM tool_calls WHERE tenant = '{tenant}'"
_ENDS = "SELECT payload ->> 'status' FROM session_events WHERE tenant = '{tenant}' AND type = 'tool.result'"
_ENDED = frozenset({"succeeded", "failed", "unknown", "cancelled", "dead"})


@dataclass(frozen=True, slots=True)
class Call:
    """An accepted call; `mark` is what its tool writes into the ledger at every run."""

    call_id: str
    tool: str
    mark: str


def end_during_tools(stage: Stage) -> None:
    """SIGTERM to the tools worker while it runs tools of 20 s, more of them waiting; it comes back by itself."""
    tenant = f"{stage.target.tenant}-tools"
    with stage.joined_by(TOOLS):
        calls = [_ask(stage, tenant, tool, n) for n in range(CALLS_OF_EACH) for tool in ("slow_write", "slow_again")]
        _await(stage, tenant, "running", RUNNING_SECONDS)
        stage.rest(5)
        running, before = _count(stage, tenant, "running"), stage.stack.status()[TOOLS].pid
        stage.stack.restart(TOOLS)
        stage.felt += running > 0 and stage.stack.status()[TOOLS].pid != before
        stage.figures["tools running when their worker was asked to end"] = running
        began = time.monotonic()
        _await(stage, tenant, "", SETTLE_SECONDS)
        stage.figures["every tool call had its end after, s"] = round(time.monotonic() - began, 1)
    states = dict(stage.sql(_STATES.format(tenant=tenant)))
    stage.figures["calls that write, of which nobody knows"] = list(states.values()).count("unknown")
    stage.later.append(lambda: judged(calls, states, _runs(stage), _results(stage, tenant)))


def judged(calls: list[Call], states: dict[str, str], runs: Counter[str], results: int) -> list[str]:
    """What is wrong: a call without its one end, a write that ran twice, a repeatable one that did not succeed."""
    found = [f"{call.tool} {call.call_id} has no end" for call in calls if states.get(call.call_id) not in _ENDED]
    for call in calls:
        state, times = states.get(call.call_id, "missing"), runs[call.mark]
        if call.tool == "slow_write":
            found += [f"the write {call.call_id} ran {times} times"] if times > 1 else []
            found += (
                [f"the write {call.call_id} is {state} and never ran"] if state == "succeeded" and not times else []
            )
        elif state != "succeeded" or not times:
            found.append(f"the repeatable {call.call_id} is {state} after {times} runs")
    if results != len(calls):
        found.append(f"{len(calls)} calls were accepted and {results} results told")
    return found


def _ask(stage: Stage, tenant: str, tool: str, number: int) -> Call:
    mark = f"{tenant}:{tool}:{number}"[-64:]
    body = {
        "session_id": f"{tenant}-{number}",
        "tool_name": tool,
        "args": {"seconds": SECONDS, "mark": mark},
        "metadata": {"tenant": tenant},
    }
    answer = requests.post(f"{stage.target.gateway}/v1/tool/request", json=body, timeout=10)
    answer.raise_for_status()
    return Call(answer.json()["event_id"], tool, mark)


def _await(stage: Stage, tenant: str, state: str, seconds: float) -> None:
    """Wait until some call is in this state; an empty one means that every call has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if _count(stage, tenant, state) if state else not _count(stage, tenant, "running", "queued"):
            return
        time.sleep(0.25)


def _count(stage: Stage, tenant: str, *wanted: str) -> int:
    return sum(state in wanted for _, state in stage.sql(_STATES.format(tenant=tenant)))


def _runs(stage: Stage) -> Counter[str]:
    return Counter((stage.stack.data_dir / "run" / LEDGER).read_text(encoding="utf-8").split())


def _results(stage: Stage, tenant: str) -> int:
    return len(stage.sql(_ENDS.format(tenant=tenant)))

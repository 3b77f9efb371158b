"""One tool call, from the claim to the committed result.

A call that only reads, or that is the same done twice, is repeated until it ends in words. One that writes is run at
most once: what became of it when its worker ended in the middle is not known, and that is what it says.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.backoff import Backoff
from app.domain.errors import LeaseLost, PolicyUnavailable
from app.domain.events import LOOK, envelope
from app.domain.json_text import BadJson, parse_json
from app.domain.memory import Place, place_of
from app.domain.policy import Policy, may_run
from app.domain.ports import Broadcast, Clock, Doorbell
from app.domain.tool_ports import How, ToolCalls, ToolRun, ToolRunner
from app.domain.tools import (
    MAX_RESULT_BYTES,
    NOBODY_KNOWS,
    ToolCall,
    ToolEnd,
    ToolStatus,
    end_before_run,
    result_event,
    start_event,
)
from app.routing import TaskName
from app.services.insist import insist
from app.services.survive import surviving

MAX_BREAKS = 5
_WAITING = Backoff(cap=10.0)
"""Between two questions of a call that waits for a decision."""
GRACE_SECONDS = 3.0
"""How long a tool that writes may go on once its worker was asked to end; a launcher kills after five seconds."""


@dataclass(frozen=True, slots=True)
class ToolMeter:
    """Who is told how a call ended (tool, outcome, seconds) and why one was given back (tool, reason),
    how many of a tool run, and what the policy said to one (tool, decision).
    """

    ended: Callable[[str, str, float], None] = lambda _tool, _outcome, _seconds: None
    given_back: Callable[[str, str], None] = lambda _tool, _reason: None
    running: Callable[[str, int], None] = lambda _tool, _change: None
    decided: Callable[[str, str], None] = lambda _tool, _decision: None


@dataclass(frozen=True, slots=True)
class Workbench:
    """What running a call needs. `memories` holds the default universe and namespace, None when memories are off."""

    calls: ToolCalls
    runner: ToolRunner
    broadcast: Broadcast
    doorbell: Doorbell
    clock: Clock
    stopping: Callable[[], bool]
    memories: tuple[str, str] | None
    policy: Policy
    present: Callable[[], bool] = lambda: True
    """Whether everybody can see that this worker lives; before that its claims would be ended like a dead one's."""
    backoff: Backoff = field(default_factory=Backoff)
    meter: ToolMeter = field(default_factory=ToolMeter)


def run_tool(call_id: str, bench: Workbench) -> str:
    """Run this call if it is due and nobody else does; returns what became of it, in a word."""
    if bench.stopping() or not bench.present():
        return "nothing to do"
    with bench.calls.working_on(call_id):
        call = bench.calls.claim(call_id)
        if call is None:
            return "nothing to do"
        try:
            with surviving(lambda: bench.calls.survived(call)):
                return _attempt(call, bench)
        except LeaseLost:
            # Somebody else ended it, or our own commit came through unheard: either way readers have to look.
            bench.broadcast.publish(call.session_id, LOOK)
            return "lease lost"


def _attempt(call: ToolCall, bench: Workbench) -> str:
    end = end_before_run(call)
    if end is not None:
        return _finish(call, end, bench)
    if bench.stopping():
        return _give_back(call, bench, begun=False)
    return _held_back(call, bench) or _attempt_allowed(call, bench)


def _held_back(call: ToolCall, bench: Workbench) -> str | None:
    """What became of a call that the policy does not allow now; None where it does."""
    try:
        decision = bench.policy.decide(may_run(call))
    except PolicyUnavailable as error:
        return _wait(call, str(error), bench)
    bench.meter.decided(call.tool, "allow" if decision.allowed else "deny")
    if decision.allowed:
        return None
    return _finish(call, ToolEnd.without_result("failed", decision.reason, ToolStatus.BLOCKED), bench)


def _attempt_allowed(call: ToolCall, bench: Workbench) -> str:
    started = insist(lambda: bench.calls.note(call, start_event(call)), bench.clock)
    bench.broadcast.publish(call.session_id, envelope(started))
    run = _run(call, bench)
    if call.effect.repeatable and run.how is How.INTERRUPTED:
        return _give_back(call, bench, begun=True)
    if call.effect.repeatable and run.how is How.BROKEN and call.failures + 1 < MAX_BREAKS:
        return _postpone(call, run, bench)
    return _finish(call, _end_of(call, run), bench)


def _run(call: ToolCall, bench: Workbench) -> ToolRun:
    bench.meter.running(call.tool, 1)
    try:
        grace = 0.0 if call.effect.repeatable else GRACE_SECONDS
        return bench.runner.run(call, bench.stopping, grace)
    finally:
        bench.meter.running(call.tool, -1)


def _end_of(call: ToolCall, run: ToolRun) -> ToolEnd:
    match run.how:
        case How.ANSWERED:
            return _answered(run)
        case How.TIMED_OUT:
            return ToolEnd.without_result("failed", run.reason, ToolStatus.TIMEOUT, run.seconds)
        case How.INTERRUPTED | How.BROKEN if not call.effect.repeatable:
            return ToolEnd.without_result("unknown", f"{run.reason}; {NOBODY_KNOWS}", seconds=run.seconds)
    return ToolEnd.without_result("failed", run.reason, seconds=run.seconds)


def _answered(run: ToolRun) -> ToolEnd:
    raw = json.dumps(run.value, ensure_ascii=False).encode(errors="surrogatepass")
    if len(raw) > MAX_RESULT_BYTES:
        reason = f"The result is larger than {MAX_RESULT_BYTES} bytes of JSON."
        return ToolEnd.without_result("failed", reason, seconds=run.seconds)
    try:
        return ToolEnd("succeeded", ToolStatus.SUCCESS, parse_json(raw), run.seconds)
    except BadJson as error:
        return ToolEnd.without_result("failed", f"The result cannot be kept: {error}.", seconds=run.seconds)


def _finish(call: ToolCall, end: ToolEnd, bench: Workbench) -> str:
    event = result_event(call, end, json.dumps(end.payload, ensure_ascii=False))
    place = _place(call, bench) if end.state != "dead" else None
    ended = insist(lambda: bench.calls.finish(call, event, end, place), bench.clock)
    bench.broadcast.publish(call.session_id, envelope(ended))
    bench.doorbell.ring(TaskName.SYNC_MEMORIES)
    if call.turn_event_id is not None:
        # Which call of its step is the last one is for the turn's claim to see.
        bench.doorbell.ring(TaskName.RESPOND, call.turn_event_id)
    bench.meter.ended(call.tool, end.state if end.state in ("unknown", "dead") else end.status.value, end.seconds)
    return end.state


def _place(call: ToolCall, bench: Workbench) -> Place | None:
    return place_of(call.tenant, call.metadata, *bench.memories) if bench.memories else None


def _give_back(call: ToolCall, bench: Workbench, begun: bool) -> str:
    insist(lambda: bench.calls.give_back(call, begun), bench.clock)
    bench.meter.given_back(call.tool, "shutdown")
    bench.doorbell.ring(TaskName.EXECUTE_TOOL, call.call_id)
    return "given back"


def _wait(call: ToolCall, reason: str, bench: Workbench) -> str:
    pause = _WAITING.pause(call.attempts - 1, 0.5)
    insist(lambda: bench.calls.wait(call, pause, reason), bench.clock)
    bench.meter.decided(call.tool, "none")
    bench.meter.given_back(call.tool, "policy")
    return "undecided"


def _postpone(call: ToolCall, run: ToolRun, bench: Workbench) -> str:
    pause = bench.backoff.pause(call.failures, 0.5)
    insist(lambda: bench.calls.postpone(call, pause, run.reason), bench.clock)
    bench.meter.given_back(call.tool, "broken")
    return "postponed"

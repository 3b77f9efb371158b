"""Tools and their calls: what a tool is, what a call carries, how it can end, and when it must not run again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel

from app.domain.conversation import Scalar
from app.domain.events import EventType, NewEvent
from app.domain.leases import MAX_ATTEMPTS, Lease

MAX_ARGS_BYTES = 32_768
MAX_RESULT_BYTES = 49_152
"""An event holds the arguments once and the result twice; together they stay below what a websocket carries."""


class Effect(StrEnum):
    """What a tool does to the world, and so what a worker's death in the middle of it means."""

    READ = "read"
    IDEMPOTENT = "idempotent"
    WRITE = "write"

    @property
    def repeatable(self) -> bool:
        """Whether running it twice is the same as running it once."""
        return self is not Effect.WRITE


class Tool(Protocol):
    """One tool. `arguments` describes and checks its arguments; `run` gets them parsed, and what else its runner gives
    to tools of its kind, and returns JSON data.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def effect(self) -> str: ...

    @property
    def arguments(self) -> type[BaseModel]: ...

    @property
    def run(self) -> Callable[..., Any]: ...


Toolbox = Mapping[str, Tool]


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call that somebody asks for; `tenant_named` tells whether the caller chose the tenant or it is a default.
    `turn_event_id` is the turn in which a model asked for it, and which waits for its end.
    """

    call_id: str
    session_id: str
    tool: str
    effect: Effect
    args: Mapping[str, Any]
    tenant: str
    tenant_named: bool = False
    persona_id: str | None = None
    subject: str = "anonymous"
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    traceparent: str | None = None
    turn_event_id: str | None = None

    @property
    def title(self) -> None:
        """A call gives its session no name,"""
        return None

    @property
    def analysis(self) -> Mapping[str, Any]:
        """and says nothing of what it is about."""
        return {}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A claimed call. `runs` counts the claims in which the tool may have begun, this one included; `deaths` the
    earlier ones that ended without a word.
    """

    call_id: str
    session_id: str
    tenant: str
    tool: str
    effect: Effect
    args: Mapping[str, Any]
    metadata: Mapping[str, Scalar]
    attempts: int
    runs: int
    deaths: int
    lease_owner: str
    failures: int = 0
    traceparent: str | None = None
    persona_id: str | None = None
    turn_event_id: str | None = None

    @property
    def lease(self) -> Lease:
        """The claim."""
        return Lease(self.call_id, self.lease_owner, self.attempts, self.failures)


class ToolStatus(StrEnum):
    """What a stream is told of a call's end (`events.md`)."""

    SUCCESS = "success"
    ERROR = "error"
    BLOCKED = "blocked"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class ToolEnd:
    """The end of a call: the row's last state, the status for people, and the result or why there is none."""

    state: str
    status: ToolStatus
    payload: Any
    seconds: float = 0.0
    reason: str | None = None

    @classmethod
    def without_result(
        cls, state: str, reason: str, status: ToolStatus = ToolStatus.ERROR, seconds: float = 0
    ) -> "ToolEnd":
        """An end with a reason in words in place of a result."""
        return cls(state, status, {"error": reason}, seconds, reason)


NOBODY_KNOWS = "whether it took effect is not known, and it is not run again."


def end_before_run(call: ToolCall) -> ToolEnd | None:
    """How a claimed call ends without running: one that writes runs at most once, and a killer is set aside."""
    if not call.effect.repeatable and call.runs > 1:
        return ToolEnd.without_result("unknown", f"Its worker ended in the middle; {NOBODY_KNOWS}")
    if call.deaths >= MAX_ATTEMPTS:
        return ToolEnd.without_result("dead", f"This call stopped its worker {MAX_ATTEMPTS} times and was set aside.")
    return None


def queued_event(request: ToolRequest) -> NewEvent:
    """The event with which a call is kept; the caller was given its id."""
    metadata = {"tool_name": request.tool, "request_id": request.call_id, "status": "queued"}
    return NewEvent(request.call_id, EventType.TOOL_START, "tool", "", metadata)


def start_event(call: ToolCall) -> NewEvent:
    """The event that a worker has the call."""
    metadata = _told(call) | {"status": "running", "attempt": call.attempts}
    return NewEvent(f"{call.call_id}:start:{call.attempts}", EventType.TOOL_START, "tool", "", metadata)


def result_event(call: ToolCall, end: ToolEnd, text: str) -> NewEvent:
    """The end as a stream shows it; `text` is the payload as JSON. A dead call may live again: its end is numbered."""
    name = f"dead:{call.attempts}" if end.state == "dead" else "result"
    metadata = _told(call) | {"status": end.status.value, "execution_time": round(end.seconds, 3)}
    also = {"tool_name": call.tool, "status": end.status.value, "payload": end.payload, "args": dict(call.args)}
    if end.reason:
        metadata["reason"] = end.reason
    return NewEvent(f"{call.call_id}:{name}", EventType.TOOL_RESULT, "tool", text, metadata, also)


def _told(call: ToolCall) -> dict[str, Any]:
    return {"tool_name": call.tool, "request_id": call.call_id}

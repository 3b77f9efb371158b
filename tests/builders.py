"""Things a test needs and does not care about: every id is new, everything else is the same each time."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from app.domain.conversation import RequestKey, Turn, UserMessage
from app.domain.dialogue import ToolAsk, Usage
from app.domain.events import EventType, NewEvent
from app.domain.log import RawRecord, WalBatch, WalPartition
from app.domain.memory import Memory, Place, Remembered, WalRecord
from app.domain.tool_loop import Asked, Step, StepPlan, call_id_of
from app.domain.tools import Effect, ToolCall, ToolRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def an_id(prefix: str = "") -> str:
    """Never the same twice."""
    return f"{prefix}{uuid.uuid4()}"


def a_message(text: str = "hello", session_id: str = "", **fields: Any) -> UserMessage:
    """A message from tenant t1 to a session of its own."""
    values: dict[str, Any] = {
        "event_id": an_id(),
        "session_id": session_id or an_id("s-"),
        "text": text,
        "tenant": "t1",
    }
    return UserMessage(**{**values, **fields})


def a_turn(event_id: str = "", **fields: Any) -> Turn:
    """A claimed turn from tenant t1 in a session of its own, in its first attempt."""
    values: dict[str, Any] = {"seq": 1, "tenant": "t1", "persona_id": None, "metadata": {}, "attempts": 1}
    return Turn(event_id or an_id(), an_id("s-"), lease_owner="worker", **{**values, **fields})


def a_key(key: str = "", digest: str = "d1", **fields: Any) -> RequestKey:
    """An Idempotency-Key that came with the body `digest` stands for."""
    values: dict[str, Any] = {"key": key or an_id(), "tenant": "t1", "route": "POST /x", "principal": "anonymous"}
    return RequestKey(**{**values, "body_digest": digest, **fields})


def a_tool_request(effect: Effect = Effect.READ, tool: str = "echo", **fields: Any) -> ToolRequest:
    """A call from tenant t1 in a session of its own."""
    values: dict[str, Any] = {"session_id": an_id("s-"), "args": {"text": "hi"}, "tenant": "t1"}
    return ToolRequest(an_id(), tool=tool, effect=effect, **{**values, **fields})


def a_tool_call(tool: str = "echo", args: dict[str, Any] | None = None, **fields: Any) -> ToolCall:
    """A claimed call from tenant t1, in its first run."""
    values: dict[str, Any] = {"session_id": an_id("s-"), "tenant": "t1", "effect": Effect.READ, "metadata": {}}
    claim = {"attempts": 1, "runs": 1, "deaths": 0, "lease_owner": "worker"}
    return ToolCall(an_id(), tool=tool, args=args or {}, **{**values, **claim, **fields})


def a_step(turn: Turn, calls: int = 1, refusals: int = 0) -> StepPlan:
    """The turn's next step, of so many calls and then so many asks that were refused."""
    number = turn.steps + 1
    requests = [
        ToolRequest(
            call_id_of(turn.event_id, number, position), turn.session_id, "echo", Effect.READ, {"text": "hi"},
            turn.tenant, persona_id=turn.persona_id, metadata=turn.metadata, turn_event_id=turn.event_id,
        )
        for position in range(calls)
    ]  # fmt: skip
    asked = [
        Asked(ToolAsk(f"ask-{position}", "echo", '{"text": "hi"}'), "" if position < calls else "no")
        for position in range(calls + refusals)
    ]
    return StepPlan(Step(number, "Let me see.", tuple(asked), Usage(7, 11)), tuple(requests))


def a_final(event_id: str, text: str = "hi") -> NewEvent:
    """The answer to the message `event_id`."""
    return NewEvent(f"{event_id}:answer", EventType.FINAL, "assistant", text, {"status": "completed"})


def a_thought(event_id: str, attempt: int = 1) -> NewEvent:
    """The event that begins an attempt."""
    return NewEvent(f"{event_id}:thinking:{attempt}", EventType.THINKING, "assistant", "", {"attempt": attempt})


def a_memory(content: str = "hello", place: Place | None = None, **fields: Any) -> Memory:
    """A user's memory."""
    event_id = fields.pop("event_id", "") or an_id()
    session_id = fields.pop("session_id", None) or an_id("s-")
    where = place or Place("t1", "wm", "u-1")
    values: dict[str, Any] = {
        "persona_id": None,
        "role": "user",
        "payload": {"id": event_id, "content": content, "metadata": {}},
        "idempotency_key": f"t1/wm/{session_id}/user/2026-01-01T00:00:00Z/{event_id[:16]}",
    }
    return Memory(event_id, where, session_id, **{**values, **fields})


def a_receipt(**fields: Any) -> Remembered:
    """SomaBrain's word that a memory is kept."""
    return Remembered(**{"coordinate": (0.1, 0.2, 0.3), "request_id": "r-1", "trace_id": None, **fields})


def a_record(topic: str = "memory.wal", dedupe_key: str = "", **fields: Any) -> WalRecord:
    """A record on its way to Kafka."""
    values: dict[str, Any] = {"payload": {"n": 1}, "headers": {"type": "test"}, "tenant": "t1", "session_id": None}
    return WalRecord(topic, fields.pop("partition_key", an_id()), dedupe_key or an_id(), **{**values, **fields})


def a_wal_body(event_id: str = "", **fields: Any) -> dict[str, Any]:
    """A `memory.write` record as `events.md` describes it."""
    key = event_id or an_id()
    return {
        "schema": 2, "event_id": key, "type": "memory.write", "version": 1, "role": "user", "session_id": "s-1",
        "persona_id": None, "tenant": "t1", "universe": "u-1", "namespace": "wm",
        "payload": {"id": key, "content": "hello", "metadata": {}},
        "result": {"coord": [0.1, 0.2, 0.3], "trace_id": None, "request_id": "r-1"},
        "timestamp": NOW.timestamp(), "trace_context": {"traceparent": None}, **fields,
    }  # fmt: skip


def wal_bytes(event_id: str = "", **fields: Any) -> bytes:
    """The same as it lies in the log."""
    return json.dumps(a_wal_body(event_id, **fields)).encode()


def a_batch(partition: WalPartition, start: int, *values: bytes, generation: int = 1) -> WalBatch:
    """Records of one partition from offset `start` on, read by the slot that took it first."""
    stamp = int(NOW.timestamp() * 1000)
    records = tuple(RawRecord(partition, start + number, value, stamp) for number, value in enumerate(values))
    return WalBatch(partition, start, start + len(values), records, generation)

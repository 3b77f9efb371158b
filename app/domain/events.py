"""A session's events: the durable line that every stream replays, and the live deltas beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

ENVELOPE_VERSION = "sa01-v2"


class EventType(StrEnum):
    """What can stand in a session's stream (`events.md`)."""

    USER = "user"
    STARTED = "assistant.started"
    THINKING = "assistant.thinking"
    DELTA = "assistant.delta"
    RESET = "assistant.reset"
    FINAL = "assistant.final"
    ERROR = "assistant.error"
    CANCELLED = "assistant.cancelled"
    DENIED = "policy.denied"
    TOOL_START = "tool.start"
    TOOL_RESULT = "tool.result"
    CONTEXT = "context.update"
    MEMORY_STATUS = "memory.status"
    STREAM_RESET = "stream.reset"


LOOK: Mapping[str, Any] = {"type": "stream.look"}
"""A live hint without content: read the durable store again."""

ENDS_A_TURN = frozenset({EventType.FINAL, EventType.ERROR, EventType.CANCELLED, EventType.DENIED})


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has no place in the line yet; the store gives it `seq` and time inside the transaction."""

    event_id: str
    type: EventType
    role: str
    message: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its payload that only events of its type have."""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A durable event: `seq` is gap-free within its session, `turn_seq` is the seq of the message it belongs to."""

    event_id: str
    session_id: str
    persona_id: str | None
    tenant: str
    type: EventType
    role: str
    message: str
    metadata: Mapping[str, Any]
    seq: int
    turn_seq: int | None
    created_at: datetime
    traceparent: str | None = None
    also: Mapping[str, Any] = field(default_factory=dict)


def envelope(event: SessionEvent) -> dict[str, Any]:
    """The event as it travels: on the wire, in Redis and in `session_events.payload`."""
    return {
        "event_id": event.event_id,
        "session_id": event.session_id,
        "persona_id": event.persona_id,
        "role": event.role,
        "message": event.message,
        "metadata": dict(event.metadata),
        "version": ENVELOPE_VERSION,
        "type": event.type.value,
        "seq": event.seq,
        "cursor": str(event.seq),
        "created_at": event.created_at.isoformat(),
        **event.also,
    }


def live_item(
    session_id: str, kind: EventType, message: str, metadata: Mapping[str, Any], created_at: datetime
) -> dict[str, Any]:
    """An item without `seq`: it is shown and forgotten."""
    return {
        "event_id": None,
        "session_id": session_id,
        "persona_id": None,
        "role": "system" if kind in (EventType.MEMORY_STATUS, EventType.STREAM_RESET) else "assistant",
        "message": message,
        "metadata": dict(metadata),
        "version": ENVELOPE_VERSION,
        "type": kind.value,
        "created_at": created_at.isoformat(),
    }

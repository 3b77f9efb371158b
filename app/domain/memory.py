"""Memories: what is remembered about a conversation, its key that never changes, and its record in the log.

Built once from a session event when the row is written; every later stage only carries it forward.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from app.domain.events import SessionEvent

WAL_SCHEMA = 2
_BESIDE_THE_PAYLOAD = frozenset({"idempotency_key", "universe"})
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a memory belongs: whose it is (`tenant`), which drawer (`namespace`) of which world (`universe`)."""

    tenant: str
    namespace: str
    universe: str


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory as it waits for SomaBrain; `event_id` is its id everywhere, `payload` is what is remembered.

    `version` counts what was decided about it: 1 is its remembering, its forgetting is one more.
    """

    event_id: str
    place: Place
    session_id: str | None
    persona_id: str | None
    role: str
    payload: Mapping[str, Any]
    idempotency_key: str
    traceparent: str | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """SomaBrain's receipt. `coordinate` has three numbers in [-1, 1]; `kept` is false when it was taken, not kept."""

    coordinate: tuple[float, float, float] | None
    request_id: str
    trace_id: str | None
    kept: bool = True


@dataclass(frozen=True, slots=True)
class WalRecord:
    """One record on its way to Kafka; `dedupe_key` makes it unique within its topic."""

    topic: str
    partition_key: str
    dedupe_key: str
    payload: Mapping[str, Any]
    headers: Mapping[str, str]
    tenant: str
    session_id: str | None


def place_of(tenant: str, metadata: Mapping[str, Any], universe: str, namespace: str) -> Place:
    """The memory's place: metadata decides, `universe` and `namespace` are the installation's defaults."""
    return Place(
        tenant=tenant,
        namespace=str(metadata.get("namespace") or namespace),
        universe=str(metadata.get("universe_id") or universe),
    )


def by_place(items: Iterable[_Item], place: Callable[[_Item], Place]) -> list[list[_Item]]:
    """One group for each place, since one call to SomaBrain is for one place; groups in the order in which their first
    items come, and each with its items in their order.
    """
    groups: dict[Place, list[_Item]] = {}
    for item in items:
        groups.setdefault(place(item), []).append(item)
    return list(groups.values())


def idempotency_key(place: Place, session_id: str | None, role: str, created_at: datetime, memory_id: str) -> str:
    """`{tenant}/{namespace}/{session_id}/{role}/{second}/{digest}`; computed once, when the row is written."""
    second = created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(memory_id.encode()).hexdigest()[:16]
    return f"{place.tenant}/{place.namespace}/{session_id or ''}/{role}/{second}/{digest}"


def memory_of(event: SessionEvent, place: Place, attachments: tuple[str, ...] = ()) -> Memory:
    """The memory of a message or an answer."""
    key = idempotency_key(place, event.session_id, event.role, event.created_at, event.event_id)
    payload = {
        "id": event.event_id,
        "type": "conversation_event",
        "role": event.role,
        "content": event.message,
        "session_id": event.session_id,
        "persona_id": event.persona_id,
        "metadata": dict(event.metadata),
        "attachments": list(attachments),
        "idempotency_key": key,
        "namespace": place.namespace,
        "created_at": event.created_at.isoformat(),
    }
    return Memory(
        event_id=event.event_id,
        place=place,
        session_id=event.session_id,
        persona_id=event.persona_id,
        role=event.role,
        payload=payload,
        idempotency_key=key,
        traceparent=event.traceparent,
    )


def tool_memory_of(event: SessionEvent, place: Place) -> Memory:
    """The memory of a tool's result."""
    memory = memory_of(event, place)
    told = {"tool_name": event.also.get("tool_name"), "status": event.also.get("status")}
    return replace(memory, payload={**memory.payload, "type": "tool_result", **told})


def digest_of(payload: Mapping[str, Any]) -> bytes:
    """SHA-256 of what a payload says, the same in every store: in whatever order its keys come, and however its numbers
    are written (1, 1.0 and 1e0 are one number to JSON). What a store knows beside the payload, too, does not count.
    """
    said = {name: _plain(part) for name, part in payload.items() if name not in _BESIDE_THE_PAYLOAD}
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def wal_write(memory: Memory, receipt: Remembered, topic: str, now: datetime) -> WalRecord:
    """The `memory.write` record of a remembered memory (shape: schema 2, `events.md`)."""
    result = {
        "coord": list(receipt.coordinate) if receipt.coordinate else None,
        "trace_id": receipt.trace_id,
        "request_id": receipt.request_id,
    }
    return _record(memory, "memory.write", topic, now, dict(memory.payload), result)


def wal_delete(memory: Memory, topic: str, now: datetime) -> WalRecord:
    """The `memory.delete` record of a memory that is to be forgotten; it repeats nothing of what the memory said."""
    return _record(memory, "memory.delete", topic, now, {}, {})


def _record(
    memory: Memory, kind: str, topic: str, now: datetime, payload: Mapping[str, Any], result: Mapping[str, Any]
) -> WalRecord:
    body = {
        "schema": WAL_SCHEMA,
        "event_id": memory.event_id,
        "type": kind,
        "version": memory.version,
        "role": memory.role,
        "session_id": memory.session_id,
        "persona_id": memory.persona_id,
        "tenant": memory.place.tenant,
        "universe": memory.place.universe,
        "namespace": memory.place.namespace,
        "payload": payload,
        "result": result,
        "timestamp": now.timestamp(),
        "trace_context": {"traceparent": memory.traceparent},
    }
    headers = {"event_id": memory.event_id, "type": kind}
    if memory.traceparent:
        headers["traceparent"] = memory.traceparent
    return WalRecord(
        topic=topic,
        partition_key=memory.session_id or memory.event_id,
        dedupe_key=f"{memory.event_id}:{memory.version}",
        payload=body,
        headers=headers,
        tenant=memory.place.tenant,
        session_id=memory.session_id,
    )

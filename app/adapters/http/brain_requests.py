"""How a memory is put to SomaBrain: body and headers, the same for every attempt at the same memory. Pure."""

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from app.domain.errors import MemoryRefused
from app.domain.memory import Memory, Place

_PLAIN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_KEPT_IN_HEADERS = "!#$&'()*+,/:;<=>?@[]^`{|}"


def body_of(memory: Memory) -> bytes:
    """The request of `POST /memory/remember`; `MemoryRefused` where the payload cannot be written as JSON."""
    return _as_json({**_placed(memory.place), **_item(memory)})


def batch_body_of(memories: Sequence[Memory]) -> bytes:
    """The request of `POST /memory/remember/batch` for memories of one place."""
    return _as_json({**_placed(memories[0].place), "items": [_item(memory) for memory in memories]})


def _placed(place: Place) -> dict[str, Any]:
    named = {"tenant": place.tenant, "namespace": place.namespace}
    return {**named, "universe": place.universe} if place.universe else named


def _item(memory: Memory) -> dict[str, Any]:
    value = {**memory.payload, "idempotency_key": memory.idempotency_key, "universe": memory.place.universe}
    traced = _TRACEPARENT.fullmatch(memory.traceparent or "")
    item = {"key": memory.event_id, "value": value}
    return {**item, "trace_id": traced[1]} if traced else item


def _as_json(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise MemoryRefused(f"this memory cannot be written as JSON: {type(error).__name__}") from error


def headers_of(memory: Memory, request_id: str) -> dict[str, str]:
    """Headers that name whose memory it is and which attempt belongs to which memory."""
    headers = {
        "Content-Type": "application/json",
        "X-Tenant-ID": header_text(memory.place.tenant),
        "X-Request-ID": request_id,
        "Idempotency-Key": header_text(memory.idempotency_key),
    }
    if memory.traceparent and _TRACEPARENT.fullmatch(memory.traceparent):
        headers["traceparent"] = memory.traceparent
    return headers


def batch_headers_of(memories: Sequence[Memory]) -> dict[str, str]:
    """Headers of a batch; which memory is which stands in the body."""
    keys = " ".join(memory.idempotency_key for memory in memories)
    return {
        "Content-Type": "application/json",
        "X-Tenant-ID": header_text(memories[0].place.tenant),
        "X-Request-ID": str(uuid.uuid5(uuid.NAMESPACE_OID, keys)),
    }


def request_id_of(memory: Memory) -> str:
    """The request's id, the same over all attempts: the memory's own where a header may hold it."""
    if _PLAIN_ID.fullmatch(memory.event_id):
        return memory.event_id
    return str(uuid.uuid5(uuid.NAMESPACE_OID, memory.idempotency_key))


def header_text(text: str) -> str:
    """The text as a header may hold it: plain ASCII stays as it is, the rest is percent-encoded UTF-8."""
    return quote(text, safe=_KEPT_IN_HEADERS, errors="replace")

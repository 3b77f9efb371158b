"""How memories and questions are put to SomaBrain: routes, bodies, headers. The same for every attempt. Pure."""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from app.adapters.http.brain_dialect import Form, Way
from app.domain.coordinates import coordinate_of
from app.domain.errors import MemoryRefused
from app.domain.json_text import replace_unstorable
from app.domain.memory import Memory, Place
from app.domain.recall import Question

_PLAIN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_KEPT_IN_HEADERS = "!#$&'()*+,/:;<=>?@[]^`{|}"
_MOST_WANTED = 50
_NO_ROUTE_OR_BROKEN = frozenset({500, 501})


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` is the route's template, `forgiven` the statuses over 499 that do not speak of an outage."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None
    parameters: Mapping[str, str] | None = None
    forgiven: frozenset[int] = frozenset()

    @property
    def target(self) -> str:
        """The path with its parameters; not for logs."""
        return f"{self.path}?{urlencode(self.parameters, errors='replace')}" if self.parameters else self.path


def remember(memory: Memory) -> Request:
    """Offer one memory; `MemoryRefused` where it cannot be written as JSON."""
    body = _as_json({**_placed(memory.place), **_item(memory)})
    return Request("POST", "/memory/remember", _headers_of(memory), body)


def remember_the_older_way(memory: Memory) -> Request:
    """The same for versions that know no places; tenant and namespace travel inside, so that recall can tell."""
    payload = {**_value(memory), "tenant": memory.place.tenant, "namespace": memory.place.namespace}
    body = _as_json({"payload": payload, **_in_universe(memory.place)})
    return Request("POST", "/remember", _headers_of(memory), body)


def remember_all(memories: Sequence[Memory]) -> Request:
    """Offer memories of one place; which memory is which stands in the body."""
    place = memories[0].place
    keys = " ".join(memory.idempotency_key for memory in memories)
    headers = _json_headers(place, str(uuid.uuid5(uuid.NAMESPACE_OID, keys)))
    body = _as_json({**_placed(place), "items": [_item(memory) for memory in memories]})
    return Request("POST", "/memory/remember/batch", headers, body, forgiven=frozenset({501}))


def recall(question: Question, request_id: str, way: Way) -> Request:
    """Ask, in the way that this version understands."""
    path, asked = ("/recall", _asked_the_older_way(question)) if way.older else ("/memory/recall", _asked(question))
    # Escaped to ASCII, any text can be asked for.
    text = json.dumps(asked, separators=(",", ":"))
    headers = {**_json_headers(question.place, request_id), **_traced(question.traceparent)}
    if way.form is Form.ADDRESS:
        return Request("POST", path, headers, parameters={"payload": text})
    return Request("POST", path, headers, (json.dumps(text) if way.form is Form.TEXT else text).encode())


def forget(
    event_id: str, place: Place, request_id: str, traceparent: str | None = None, idempotency_key: str | None = None
) -> Request:
    """Delete; every name that a memory has is sent, because versions differ in which they read."""
    names = {"id": event_id, "key": event_id, "coordinate": coordinate_of(place.universe, event_id)}
    headers = {**_json_headers(place, header_text(request_id)), **_traced(traceparent)}
    told = {**_placed(place), **names}
    if idempotency_key:
        told["idempotency_key"] = idempotency_key
        headers["Idempotency-Key"] = header_text(idempotency_key)
    body = json.dumps(told, separators=(",", ":")).encode()
    return Request("POST", "/recall/delete", headers, body, forgiven=_NO_ROUTE_OR_BROKEN)


def link(place: Place, ids: tuple[str, str], kind: str, weight: float) -> Request:
    """Tie two memories of one place together."""
    told = {"from_key": ids[0], "to_key": ids[1], "type": kind, "weight": weight}
    request_id = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([place.tenant, place.namespace, *ids, kind])))
    return Request("POST", "/link", _json_headers(place, request_id), _as_json({**_placed(place), **told}))


def figures(place: Place, request_id: str) -> Request:
    """How much a drawer holds."""
    headers = {"X-Tenant-ID": header_text(place.tenant), "X-Request-ID": request_id}
    parameters = {"tenant": place.tenant, "namespace": place.namespace}
    return Request("GET", "/memory/metrics", headers, parameters=parameters)


def health() -> Request:
    """How SomaBrain is."""
    return Request("GET", "/health", {})


def request_id_of(memory: Memory) -> str:
    """The request's id, the same over all attempts: the memory's own where a header may hold it."""
    if _PLAIN_ID.fullmatch(memory.event_id):
        return memory.event_id
    return str(uuid.uuid5(uuid.NAMESPACE_OID, memory.idempotency_key))


def header_text(text: str) -> str:
    """The text as a header may hold it: plain ASCII stays as it is, the rest is percent-encoded UTF-8."""
    return quote(text, safe=_KEPT_IN_HEADERS, errors="replace")


def _placed(place: Place) -> dict[str, Any]:
    return {"tenant": place.tenant, "namespace": place.namespace, **_in_universe(place)}


def _in_universe(place: Place) -> dict[str, str]:
    return {"universe": place.universe} if place.universe else {}


def _item(memory: Memory) -> dict[str, Any]:
    traced = _TRACEPARENT.fullmatch(memory.traceparent or "")
    item = {"key": memory.event_id, "value": _value(memory)}
    return {**item, "trace_id": traced[1]} if traced else item


def _value(memory: Memory) -> dict[str, Any]:
    return {**memory.payload, "idempotency_key": memory.idempotency_key, "universe": memory.place.universe}


def _asked(question: Question) -> dict[str, Any]:
    asked = {**_placed(question.place), **_wanted(question), "layer": "all"}
    return {**asked, "session_id": question.session_id} if question.session_id else asked


def _asked_the_older_way(question: Question) -> dict[str, Any]:
    return {**_wanted(question), **_in_universe(question.place)}


def _wanted(question: Question) -> dict[str, Any]:
    return {"query": replace_unstorable(question.query), "top_k": min(max(question.top_k, 1), _MOST_WANTED)}


def _as_json(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise MemoryRefused(f"this memory cannot be written as JSON: {type(error).__name__}") from error


def _headers_of(memory: Memory) -> dict[str, str]:
    """Headers that name whose memory it is and which attempt belongs to which memory."""
    headers = _json_headers(memory.place, request_id_of(memory))
    return {**headers, "Idempotency-Key": header_text(memory.idempotency_key), **_traced(memory.traceparent)}


def _json_headers(place: Place, request_id: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "X-Tenant-ID": header_text(place.tenant), "X-Request-ID": request_id}


def _traced(traceparent: str | None) -> dict[str, str]:
    return {"traceparent": traceparent} if traceparent and _TRACEPARENT.fullmatch(traceparent) else {}

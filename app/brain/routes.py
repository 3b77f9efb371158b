"""The service's calls: read the body, ask the store, shape the answer. Mounted at the root and under `/api`."""

import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, current_app, request
from sqlalchemy import Engine

from app.brain import answers
from app.brain.bodies import Forget, Item, LegacyRemember, Link, Placed, Recall, Remember, RememberBatch, read
from app.brain.meaning import Meaning
from app.brain.memories import Memories
from app.brain.recall import recall
from app.domain.memory import Place
from app.telemetry.metrics import BRAIN_WRITES

routes = Blueprint("brain", __name__)

_PLAIN_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Desk:
    """What every call needs: the engine and where memories go that name no place (only the older calls allow it)."""

    engine: Engine
    memories: Memories
    meaning: Meaning
    tenant: str
    namespace: str


def desk() -> Desk:
    """The running application's desk."""
    found: Desk = current_app.extensions["brain"]
    return found


@routes.post("/memory/remember")
def remember() -> dict[str, Any]:
    """Keep one memory."""
    return _remember(read(Remember, request, _tenant()))


@routes.post("/memory/remember/batch")
def remember_batch() -> dict[str, Any]:
    """Keep all of these memories or none."""
    batch = read(RememberBatch, request, _tenant())
    place, request_id = _place(batch), _request_id()
    results = _keep(place, [(item, _key_of(item)) for item in batch.items], request_id)
    numbered = [{**result, "request_id": f"{request_id}:{index}"} for index, result in enumerate(results)]
    return {
        "ok": True,
        "tenant": place.tenant,
        "namespace": place.namespace,
        "results": numbered,
        "breaker_open": False,
        "queued": False,
    }


@routes.post("/memory/recall")
def recall_memories() -> dict[str, Any]:
    """Find memories."""
    return _recall(read(Recall, request, _tenant()))


@routes.post("/recall/delete")
@routes.post("/delete")
def forget() -> dict[str, Any]:
    """Delete a memory; one that is not there is deleted already, and a write of it that comes late is not kept."""
    wish = read(Forget, request, _tenant())
    idempotency_key = wish.idempotency_key or request.headers.get("Idempotency-Key")
    return {"ok": True, "deleted": desk().memories.forget(wish, idempotency_key)}


@routes.post("/link")
def link() -> dict[str, Any]:
    """Tie two memories together."""
    desk().memories.link(read(Link, request, _tenant()))
    return {"ok": True}


@routes.post("/remember")
def remember_the_older_way() -> dict[str, Any]:
    """Keep a payload that names neither tenant nor namespace; its own id is its key, else its content is."""
    legacy = read(LegacyRemember, request, {})
    content = json.dumps(legacy.payload, sort_keys=True).encode()
    key = legacy.payload.get("id") or legacy.payload.get("key") or hashlib.blake2b(content, digest_size=16).hexdigest()
    told = {"key": key, "value": legacy.payload, "universe": legacy.universe}
    return _remember(Remember.model_validate({**_anywhere(), **told}))


@routes.post("/recall")
def recall_the_older_way() -> dict[str, Any]:
    """Find memories; the list stands under both names that older readers know."""
    found = _recall(read(Recall, request, _anywhere()))
    return {**found, "memory": found["results"]}


def _remember(body: Remember) -> dict[str, Any]:
    idempotency_key = _key_of(body) or request.headers.get("Idempotency-Key")
    return _keep(_place(body), [(body, idempotency_key)], _request_id())[0]


def _keep(place: Place, items: list[tuple[Item, str | None]], request_id: str) -> list[dict[str, Any]]:
    fates = desk().memories.write(place, items)
    trace = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    receipts = []
    for (item, _), fate in zip(items, fates, strict=True):
        BRAIN_WRITES.labels(fate).inc()
        receipts.append(answers.remembered(place, item, fate, request_id, trace[1] if trace else None))
    return receipts


def _recall(asked: Recall) -> dict[str, Any]:
    started = time.monotonic()
    found = recall(desk().engine, desk().meaning, asked)
    return answers.recalled(asked, found, (time.monotonic() - started) * 1000)


def _key_of(item: Item) -> str | None:
    """The idempotency key that travels with the memory; it is not mangled as a header's may be."""
    inside = item.value.get("idempotency_key")
    return inside if isinstance(inside, str) and inside else item.idempotency_key


def _place(body: Placed) -> Place:
    return Place(body.tenant, body.namespace, body.world)


def _tenant() -> dict[str, str]:
    header = request.headers.get("X-Tenant-ID")
    return {"tenant": header} if header else {}


def _anywhere() -> dict[str, str]:
    return {"tenant": desk().tenant, "namespace": desk().namespace, **_tenant()}


def _request_id() -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if _PLAIN_ID.fullmatch(given) else str(uuid.uuid4())

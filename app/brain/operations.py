"""For operators and checkers: health, counts, the listing of everything kept, metrics."""

import base64
import json
from dataclasses import asdict
from typing import Annotated, Any

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel, ConfigDict, Field

from app.brain import answers
from app.brain.bodies import Name, WrongBody
from app.brain.meaning import Condition
from app.brain.memories import Stored
from app.brain.routes import desk
from app.domain.errors import Retryable
from app.settings import settings

operations = Blueprint("brain_operations", __name__)
OPEN_TO_ALL = frozenset({"health", "metrics"})


class _Drawer(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    tenant: Name
    namespace: Name


class _Listing(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    tenant: Name
    namespace: Name | None = None
    universe: Name | None = None
    after: str = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100


@operations.get("/health")
@operations.get("/healthz")
def health() -> dict[str, Any]:
    """How the service is; always 200, `ok` tells."""
    try:
        desk().memories.probe()
        return _health(True, "", desk().meaning.condition())
    except Retryable as error:
        return _health(False, str(error), Condition("degraded", "the memory store is away"))


@operations.get("/memory/metrics")
def counts() -> dict[str, Any]:
    """How many memories a drawer holds."""
    drawer = _Drawer.model_validate(request.args.to_dict())
    items = desk().memories.count(drawer.tenant, drawer.namespace)
    return {**drawer.model_dump(), "wm_items": items, "circuit_open": False, "outbox_pending": 0}


@operations.get("/memory/items")
def items() -> dict[str, Any]:
    """One page of a tenant's memories; following `next_cursor` meets every memory that was there at the start."""
    asked = _Listing.model_validate({name: value for name, value in request.args.items() if value})
    page = desk().memories.page(asked.tenant, (asked.namespace, asked.universe), _decoded(asked.after), asked.limit + 1)
    shown = page[: asked.limit]
    more = len(page) > asked.limit
    return {"items": [answers.listed(memory) for memory in shown], "next_cursor": _encoded(shown[-1]) if more else None}


@operations.get("/metrics")
def metrics() -> Response:
    """Prometheus; of all worker processes where there are several."""
    registry = REGISTRY
    if settings().brain_workers > 1:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _health(well: bool, why: str, meaning: Condition) -> dict[str, Any]:
    """Without a search by meaning everything is still remembered and found by words: that is no reason to stay away."""
    postgres = {"ok": well, "detail": why} if why else {"ok": well}
    components = {"postgres": postgres, "embeddings": asdict(meaning)}
    return {"ok": well, "ready": well, "memory_ok": well, "components": components}


def _encoded(memory: Stored) -> str:
    position = json.dumps([memory.place.namespace, memory.place.universe, memory.key])
    return base64.urlsafe_b64encode(position.encode()).decode()


def _decoded(cursor: str) -> tuple[str, str, str]:
    if not cursor:
        return ("", "", "")
    try:
        namespace, universe, key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return (_text(namespace), _text(universe), _text(key))
    except (ValueError, TypeError):
        raise WrongBody(("after",), "this cursor does not come from here") from None


def _text(part: object) -> str:
    if not isinstance(part, str) or "\x00" in part:
        raise ValueError
    return part

"""The memory replica, for administrators."""

import math
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from app.domain.errors import NotFound
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import decode, encode
from app.gateway.problems import BadRequest
from app.gateway.room import room

memory = Area("memory")
_Filter = Annotated[str, Field(max_length=255)] | None


class MemoryQuery(Query):
    """Which memories; every filter given must hold."""

    tenant: _Filter = None
    persona_id: _Filter = None
    role: _Filter = None
    session_id: _Filter = None
    universe: _Filter = None
    namespace: _Filter = None
    after: str = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    def filters(self) -> dict[str, str]:
        """The filters that were given."""
        names = ("tenant", "persona_id", "role", "session_id", "universe", "namespace")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class MemoryItem(Answer):
    """One memory as the replica holds it; a forgotten one has `deleted_at` and an empty payload."""

    id: int
    event_id: str
    session_id: str | None
    persona_id: str | None
    tenant: str
    role: str | None
    coord: list[float] | None
    request_id: str | None
    trace_id: str | None
    payload: dict[str, Any]
    wal_timestamp: float
    created_at: AwareDatetime
    deleted_at: AwareDatetime | None


class MemoryItems(Answer):
    """A page of memories, newest first."""

    items: list[MemoryItem]
    next_cursor: str | None


@memory.route(
    "GET",
    "/v1/admin/memory",
    "Memories in the replica, newest first",
    query=MemoryQuery,
    answer=MemoryItems,
    errors=(422, 503),
)
def list_memory(query: MemoryQuery) -> MemoryItems:
    """One page."""
    before = decode(query.after, float, int)
    if before is not None and not (math.isfinite(before[0]) and abs(before[1]) < 2**63):
        raise BadRequest(422, "this cursor is not one of ours")
    rows = room().serving.browser.memories(query.filters(), before, query.limit + 1)
    items = [_item(row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return MemoryItems(items=items, next_cursor=encode(items[-1].wal_timestamp, items[-1].id) if more else None)


@memory.route("GET", "/v1/admin/memory/<event_id>", "One memory of the replica", answer=MemoryItem, errors=(404, 503))
def get_memory(event_id: str) -> MemoryItem:
    """One memory."""
    row = room().serving.browser.memory(event_id)
    if row is None:
        raise NotFound("there is no such memory")
    return _item(row)


def _item(row: Any) -> MemoryItem:
    return MemoryItem(**{**row, "payload": row["payload"] or {}})

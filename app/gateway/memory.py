"""The memory replica, for administrators."""

from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from app.domain.browse import MemoryFilter, Position
from app.domain.errors import NotFound
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import another_list, decode, encode
from app.gateway.room import room
from app.services.memory_filter_form import MemoryFilterForm

memory = Area("memory")


class MemoryQuery(MemoryFilterForm, Query):
    """Which memories, and which page of them."""

    after: str = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class MemoryItem(Answer):
    """One memory as the replica holds it; a forgotten one has `deleted_at` and an empty payload."""

    id: int
    event_id: str
    session_id: str | None
    persona_id: str | None
    tenant: str
    role: str | None
    universe: str
    namespace: str
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
    wanted = query.filter()
    rows = room().serving.browser.memories(wanted, _place(query.after, wanted), query.limit + 1)
    items = [MemoryItem(**row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return MemoryItems(items=items, next_cursor=_cursor(items[-1], wanted) if more else None)


def _cursor(item: MemoryItem, wanted: MemoryFilter) -> str:
    place = Position(item.wal_timestamp, item.id)
    return encode(place.wal_timestamp, place.row_id, wanted.seal(place))


def _place(cursor: str, wanted: MemoryFilter) -> Position | None:
    found = decode(cursor, float, int, str)
    if found is None:
        return None
    place = Position(*found[:2])
    if wanted.seal(place) != found[2]:
        raise another_list()
    return place


@memory.route("GET", "/v1/admin/memory/<event_id>", "One memory of the replica", answer=MemoryItem, errors=(404, 503))
def get_memory(event_id: str) -> MemoryItem:
    """One memory."""
    row = room().serving.browser.memory(event_id)
    if row is None:
        raise NotFound("there is no such memory")
    return MemoryItem(**row)

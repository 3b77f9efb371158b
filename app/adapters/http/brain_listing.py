"""What `GET /memory/items` says: a tenant's memories, page by page. Not every SomaBrain has it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.adapters.http.bounded import Answer
from app.adapters.http.brain_answers import NO_SUCH_ROUTE, said_by
from app.adapters.http.brain_requests import Request, header_text
from app.domain.errors import BrainCannotList, BrainUnavailable
from app.domain.memory import Place
from app.domain.proof_ports import BrainItem, BrainPage

_NOT_LIKE_THIS = frozenset({400, 422})


def list_items(tenant: str, after: str, limit: int) -> Request:
    """Ask for one page."""
    parameters = {"tenant": tenant, "limit": str(limit), **({"after": after} if after else {})}
    return Request("GET", "/memory/items", {"X-Tenant-ID": header_text(tenant)}, parameters=parameters)


def page_of(answer: Answer, tenant: str, now: datetime) -> BrainPage:
    """The page in an answer; `BrainCannotList` where this version has no such route, else as the error table says."""
    if answer.status in NO_SUCH_ROUTE | _NOT_LIKE_THIS:
        raise BrainCannotList("this SomaBrain does not list what it holds")
    said = said_by(answer, now)
    if not said:
        raise BrainUnavailable("the answer does not come from SomaBrain")
    items, cursor = said.get("items"), said.get("next_cursor")
    if not isinstance(items, list) or not (cursor is None or isinstance(cursor, str)):
        raise BrainCannotList("this SomaBrain does not list what it holds")
    return BrainPage(tuple(_item(item, tenant) for item in items), cursor)


def _item(item: Any, tenant: str) -> BrainItem:
    if not isinstance(item, dict) or not isinstance(item.get("value"), dict):
        raise BrainCannotList("this SomaBrain lists what it holds in another form")
    place = Place(_text(item, "tenant") or tenant, _text(item, "namespace"), _text(item, "universe"))
    return BrainItem(place, _text(item, "key"), item["value"])


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""

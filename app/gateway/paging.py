"""Opaque cursors: where the next page begins, as text that a client only hands back."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from app.domain.json_text import storable
from app.gateway.problems import BadRequest

Item = TypeVar("Item")


def encode(*position: object) -> str:
    """The cursor of this position."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def cut(
    found: Sequence[Item], limit: int, place: Callable[[Item], tuple[object, ...]]
) -> tuple[Sequence[Item], str | None]:
    """A page of what was found, of which one more than a page was asked for, and the cursor of the next one."""
    page = found[:limit]
    return page, encode(*place(page[-1])) if len(found) > limit else None


def decode(cursor: str, *types: type) -> Any:
    """The position in a cursor as a tuple, None for the beginning; 422 for one that we never gave out."""
    if not cursor:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise never_given() from None
    if not isinstance(position, list) or len(position) != len(types):
        raise never_given()
    if not all(_fits(value, kind) for value, kind in zip(position, types, strict=True)):
        raise never_given()
    return tuple(position)


def another_list() -> BadRequest:
    """What a cursor of ours gets that was given out for other filters."""
    detail = "this cursor belongs to a list with other filters; leave `after` out, or use the filters of that list"
    return BadRequest(422, detail, [{"loc": ["query", "after"], "msg": "a cursor of another list"}])


def decode_place(cursor: str) -> tuple[datetime, str] | None:
    """The moment and the id at which a page ended; None for the beginning."""
    place = decode(cursor, str, str)
    return None if place is None else (decode_moment(place[0]), place[1])


def decode_moment(text: str) -> datetime:
    """The moment within a position; 422 for one that we never gave out."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise never_given() from None
    if moment.tzinfo is None:
        raise never_given()
    return moment


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, str) and not storable(value):
        return False
    return isinstance(value, kind) and not isinstance(value, bool)


def never_given() -> BadRequest:
    """What a cursor gets that is none of ours."""
    detail = "this cursor is not one of ours; leave `after` out to begin at the beginning"
    return BadRequest(422, detail, [{"loc": ["query", "after"], "msg": "unknown cursor"}])

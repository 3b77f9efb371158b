"""Opaque cursors: where the next page begins, as text that a client only hands back."""

import base64
import binascii
import json
from typing import Any

from app.domain.json_text import storable
from app.gateway.problems import BadRequest


def encode(*position: object) -> str:
    """The cursor of this position."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode(cursor: str, *types: type) -> Any:
    """The position in a cursor as a tuple, None for the beginning; 422 for one that we never gave out."""
    if not cursor:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise _unknown() from None
    if not isinstance(position, list) or len(position) != len(types):
        raise _unknown()
    if not all(_fits(value, kind) for value, kind in zip(position, types, strict=True)):
        raise _unknown()
    return tuple(position)


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, str) and not storable(value):
        return False
    return isinstance(value, kind) and not isinstance(value, bool)


def _unknown() -> BadRequest:
    detail = "this cursor is not one of ours; leave `after` out to begin at the beginning"
    return BadRequest(422, detail, [{"loc": ["query", "after"], "msg": "unknown cursor"}])

"""How long one item of a stream may be: 64 KiB of JSON, which every client and every proxy between takes in one frame.

A longer event goes out with the beginning of its text and a reference from which the whole of it can be fetched; live
text, which nothing refers to, goes out in pieces.
"""

import json
from collections.abc import Mapping
from typing import Any

LONGEST_ITEM_BYTES = 65_536
LONGEST_PIECE = 8_192
"""Characters of one live piece: it fits even where each of them takes six bytes, as control characters do."""
_SHOWN = 2_000
_KEPT = (
    "event_id", "session_id", "persona_id", "role", "message", "metadata", "version", "type", "seq", "cursor",
    "created_at",
)  # fmt: skip


def as_json(item: Mapping[str, Any]) -> str:
    """The item as it stands on the line."""
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))


def fitting(event: dict[str, Any]) -> dict[str, Any]:
    """The durable event as a stream may carry it: itself, or its beginning with `metadata.truncated {bytes, href}`."""
    size = _bytes(event)
    if size <= LONGEST_ITEM_BYTES:
        return event
    reference = {"bytes": size, "href": f"/v1/sessions/{event['session_id']}/events/{event['seq']}"}
    cut = {name: event[name] for name in _KEPT if name in event} | {"message": event["message"][:_SHOWN]}
    cut["metadata"] = {**event["metadata"], "truncated": reference}
    return cut if _bytes(cut) <= LONGEST_ITEM_BYTES else cut | {"metadata": {"truncated": reference}}


def _bytes(item: Mapping[str, Any]) -> int:
    return len(as_json(item).encode())

"""How long one item of a stream may be: 64 KiB of JSON, which every client and every proxy between takes in one frame.

A longer event is cut where it goes on the line, to the beginning of its text and a reference from which the whole of
it can be fetched; who reads a stream within this process gets it whole. Live text, which nothing refers to, comes in
pieces.
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


def as_line(item: Mapping[str, Any]) -> str:
    """The item as it stands on the line; of a durable event that is too long its beginning, with
    `metadata.truncated {bytes, href}`.
    """
    text = as_json(item)
    if len(text) <= LONGEST_ITEM_BYTES // 4 or "seq" not in item:
        return text
    size = len(text.encode())
    return text if size <= LONGEST_ITEM_BYTES else as_json(_beginning(item, size))


def as_json(item: Mapping[str, Any]) -> str:
    """All of the item."""
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))


def _beginning(event: Mapping[str, Any], size: int) -> dict[str, Any]:
    reference = {"bytes": size, "href": f"/v1/sessions/{event['session_id']}/events/{event['seq']}"}
    cut = {name: event[name] for name in _KEPT if name in event} | {"message": event["message"][:_SHOWN]}
    cut["metadata"] = {**event["metadata"], "truncated": reference}
    fits = len(as_json(cut).encode()) <= LONGEST_ITEM_BYTES
    return cut if fits else cut | {"metadata": {"truncated": reference}}

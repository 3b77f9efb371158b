"""Our own export: a line is a row as `GET /v1/admin/memory` shows it, with its universe and namespace beside.

A bare memory, as `POST /v1/memory/batch` takes it, is read as well.
"""

from collections.abc import Iterator
from typing import Any

from app.domain.json_text import check_storable
from app.domain.shapes.found import Imported, NotOfThisShape, name_of, stable_id

NAME = "soma"
_PLACE = ("tenant", "universe", "namespace")
_ROW = ("session_id", "persona_id", "role", *_PLACE)
_TYPES = ("conversation_event", "tool_result", "attachment", "attachment_ingest")
_MEMORY = frozenset({"content", "payload", "event_id", "truncated"})


def elements(document: object) -> list[Any] | None:
    """The rows of a document; None when it is not one of ours."""
    if isinstance(document, dict) and isinstance(document.get("items"), list):
        return list(document["items"])
    if isinstance(document, dict):
        return [document] if document.keys() & _MEMORY else None
    return document if isinstance(document, list) else None


def knows(element: object) -> bool:
    """Whether this is one of our rows or memories."""
    if not isinstance(element, dict):
        return False
    is_row = "event_id" in element and isinstance(element.get("payload"), dict)
    return is_row or "truncated" in element or ("content" in element and element.get("type") in _TYPES)


def read(element: object, line: int, scope: str) -> Iterator[Imported]:
    """What one row holds."""
    if not isinstance(element, dict):
        raise NotOfThisShape("a line of our export is a JSON object")
    if "truncated" in element and "payload" not in element:
        yield Imported(line, None, "the export ends here because it reached its limit; this is no memory", True)
    elif element.get("deleted_at"):
        yield Imported(line, None, "this memory was deleted", True, name_of(element.get("event_id")))
    elif "payload" in element:
        yield _row(element, line)
    elif "content" in element:
        check_storable(element)
        own = name_of(element.get("id"))
        yield Imported(line, {**element, "id": own or stable_id(scope, NAME, element)}, id=own)
    else:
        raise NotOfThisShape("a line of our export has event_id and payload, a memory has content")


def _row(row: dict[str, Any], line: int) -> Imported:
    """The payload as it was, so that it comes back equal; the row fills only what the payload does not say."""
    payload = row["payload"]
    if not isinstance(payload, dict) or not payload:
        return Imported(line, None, "payload holds no memory", id=name_of(row.get("event_id")))
    event_id = row.get("event_id") or payload.get("id")
    if not isinstance(event_id, str):
        return Imported(line, None, "event_id is missing")
    told = {name: row[name] for name in _PLACE if isinstance(row.get(name), str)}
    silent = {name: row[name] for name in _ROW if name not in payload and isinstance(row.get(name), str)}
    when = {} if "created_at" in payload else {"created_at": row["created_at"]} if row.get("created_at") else {}
    return Imported(line, {**when, **silent, **payload, **told, "id": event_id}, id=event_id)

"""What an import finds: one `Imported` for each memory, each thing left out on purpose and each thing that is wrong."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

_IDS = UUID("4f1c5e0e-7a55-5d0b-9c0c-6d656d6f7279")
_SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MILLISECONDS_FROM = 1e11
_NANOSECONDS_FROM = 1e17


@dataclass(frozen=True, slots=True)
class Imported:
    """One finding of `line`; without an `item` it was `skipped` on purpose or is wrong, and `error` says why.

    `line` counts from 1: lines of NDJSON, elements of a JSON document. `id` is the id as the file names it.
    """

    line: int
    item: Mapping[str, Any] | None = None
    error: str = ""
    skipped: bool = False
    id: str = ""


class NotOfThisShape(Exception):
    """The value is nothing that this shape knows; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """One memory of another system. `key` is what makes it that memory there; `rest` is all that has no place here."""

    shape: str
    key: str | list[str]
    content: str
    role: str = "user"
    type: str = "conversation_event"
    created_at: datetime | None = None
    session: str = ""
    persona: object = None
    rest: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)

    def item(self, scope: str) -> dict[str, Any]:
        """The memory as ours. Its id is the same for the same key and `scope`, so importing twice keeps one.

        What they keep stays below `metadata.<shape>`: a field of theirs called tenant or namespace decides nothing.
        """
        made = {
            "id": stable_id(scope, self.shape, self.key),
            "type": self.type,
            "role": self.role,
            "content": self.content,
            "session_id": _session_id(self.shape, self.session),
            "persona_id": _short_text(self.persona),
            "metadata": {"imported_from": self.shape, self.shape: dict(self.rest)},
            "attachments": [],
            **self.also,
        }
        return made | ({"created_at": self.created_at.isoformat()} if self.created_at else {})


def stable_id(scope: str, shape: str, key: object) -> str:
    """A UUID that depends on nothing but these."""
    return str(uuid5(_IDS, json.dumps([scope, shape, key], sort_keys=True)))


def moment(value: object) -> datetime | None:
    """The instant in an ISO 8601 text (UTC where it names no zone) or a count of seconds, ms or ns since 1970."""
    try:
        if isinstance(value, str):
            told = datetime.fromisoformat(value)
            return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(_seconds(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _seconds(count: float) -> float:
    if count >= _NANOSECONDS_FROM:
        return count / 1e9
    return count / 1e3 if count >= _MILLISECONDS_FROM else count


def text_of(content: object) -> str:
    """The text of a message: a plain one, or the text parts of one made of parts."""
    parts = content if isinstance(content, list) else [content]
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def name_of(value: object) -> str:
    """An id, a name or a time as the file tells it; empty for anything that is no text and no number."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """All fields that hold something, but these."""
    return {name: value for name, value in record.items() if name not in names and value not in (None, [], {}, "")}


def _session_id(shape: str, session: str) -> str | None:
    """A session of theirs never becomes one of ours by accident: it carries the shape's name."""
    if not session:
        return None
    plain = f"{shape}:{session}"
    return plain if _SESSION_ID.fullmatch(plain) else f"{shape}:{stable_id('', shape, session)}"


def _short_text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 255 else None

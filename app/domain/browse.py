"""Which memories somebody wants to see: the filters of the list, of the export and of its jobs. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAX_QUERY_LENGTH = 500
"""A word of so many characters still fits into an index entry, whatever its letters."""
_SEARCHABLE_SIGNS = frozenset("%_\\")


@dataclass(frozen=True, slots=True)
class Position:
    """A memory's place among all, newest first; it never changes, whatever becomes of the memory."""

    wal_timestamp: float
    row_id: int


@dataclass(frozen=True, slots=True)
class MemoryFilter:
    """Every filter that is given must hold; `words` must all occur, the timestamps are included."""

    tenant: str | None = None
    persona_id: str | None = None
    role: str | None = None
    session_id: str | None = None
    universe: str | None = None
    namespace: str | None = None
    words: tuple[str, ...] = ()
    min_ts: float | None = None
    max_ts: float | None = None

    @property
    def equal(self) -> dict[str, str]:
        """The columns that must have a value, with it."""
        names = ("tenant", "persona_id", "role", "session_id", "universe", "namespace")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Only what is given, as JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "MemoryFilter":
        """What `as_dict` gave."""
        return cls(**{**stored, "words": tuple(stored.get("words", ()))})

    def seal(self, position: Position) -> str:
        """What only a cursor of this very list carries beside its position."""
        return sealed(self.as_dict(), position.wal_timestamp, position.row_id)


def sealed(*parts: Any) -> str:
    """A digest of what a cursor must not be parted from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def search_words(query: str) -> tuple[str, ...]:
    """The words of a search, split at white space; `ValueError` says what is missing where nothing can be found."""
    if not any(sign.isalnum() or sign in _SEARCHABLE_SIGNS for sign in query):
        raise ValueError("give it at least one letter, digit, %, _ or \\; other signs alone cannot be searched for")
    return tuple(dict.fromkeys(query.split()))


def literal_words(words: Sequence[str]) -> list[str]:
    """Those that have to occur as they are written, beside being found: a word index does not know signs."""
    return [word for word in words if not (word.isascii() and word.isalnum())]


def contains(word: str) -> str:
    """The LIKE pattern of texts in which this word stands, sign for sign (escape: backslash)."""
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def all_of(lexemes: list[str]) -> str:
    """The tsquery of texts that have every one of these lexemes."""
    quoted = (lexeme.replace("\\", "\\\\").replace("'", "''") for lexeme in lexemes)
    return " & ".join(f"'{lexeme}'" for lexeme in quoted)


NEWEST_LOOKED_AT = 1_000
"""So many of the newest memories are looked through for words before anything else is done: common ones stand there."""


def walking_is_cheaper(matches: float, rows: float, limit: int) -> bool:
    """Whether to walk from the newest memory on until `limit` are found, instead of finding all of `matches`, by the
    planner's guess of them among `rows`: the walk passes rows / matches memories for each one that it finds.
    """
    return matches * matches > limit * max(rows, 1.0)

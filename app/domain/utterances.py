"""What was said in conversations, as somebody who looks for words wants to see it. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.browse import sealed

SNIPPET_LENGTH = 240
_LONGEST_WORD = 40


@dataclass(frozen=True, slots=True)
class UtterancePlace:
    """Where something was said; it never changes."""

    created_at: datetime
    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class UtteranceFilter:
    """`words` must all occur; without a tenant those of all tenants are searched."""

    words: tuple[str, ...]
    tenant: str | None = None

    def seal(self, place: UtterancePlace) -> str:
        """What only a cursor of this very search carries beside its place."""
        return sealed(self.words, self.tenant, place.created_at.isoformat(), place.session_id, place.seq)


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message, an answer, or how far a stopped one had come; with its session's `subject` and `title`."""

    place: UtterancePlace
    tenant: str
    subject: str
    title: str | None
    type: str
    role: str
    text: str


def snippet(text: str, words: Sequence[str]) -> str:
    """The text around the first of these words on one line, with an ellipsis where something is left out."""
    start = max(0, _first(text, words) - SNIPPET_LENGTH // 4)
    end = start + SNIPPET_LENGTH
    if start:
        start = _after_a_space(text, start)
    if end < len(text):
        end = _before_a_space(text, end)
    shown = " ".join(text[start:end].split())
    return f"{'… ' if start else ''}{shown}{' …' if end < len(text) else ''}"


def _first(text: str, words: Sequence[str]) -> int:
    any_of = "|".join(map(re.escape, words))
    found = re.search(rf"(?<!\w)(?:{any_of})(?!\w)", text, re.IGNORECASE) or re.search(any_of, text, re.IGNORECASE)
    return found.start() if found else 0


def _after_a_space(text: str, at: int) -> int:
    space = text.find(" ", at, at + _LONGEST_WORD)
    return at if space < 0 else space + 1


def _before_a_space(text: str, at: int) -> int:
    space = text.rfind(" ", at - _LONGEST_WORD, at)
    return at if space < 0 else space

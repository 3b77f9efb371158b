"""A conversation as people read it: Markdown, the newest part of it first to be kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.tokens import estimate_tokens
from app.domain.transcript import Line, Transcripts

_EVERYTHING = 2**62
_NAMES = {"user": "User", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True)
class History:
    """The text, and an estimate of the tokens that it is."""

    text: str
    tokens: int


def show_history(session_id: str, limit: int, transcripts: Transcripts) -> History:
    """The last `limit` messages and answers, oldest first."""
    text = as_markdown(transcripts.newest(session_id, _EVERYTHING, limit))
    return History(text, estimate_tokens(text))


def as_markdown(lines: Sequence[Line]) -> str:
    """A heading for each who speaks, and what they said as they said it."""
    return "\n\n".join(f"### {_NAMES.get(line.role, line.role)}\n\n{line.text}" for line in lines)

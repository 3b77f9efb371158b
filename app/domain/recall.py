"""What is asked of SomaBrain beyond remembering, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.memory import Place


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for, in one place only; at most `top_k` memories are wanted."""

    query: str
    place: Place
    top_k: int = 5
    session_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Recollection:
    """A memory that was found. `event_id` is None where SomaBrain did not say which memory it is; `content` is text
    that can be stored; `score` means something only beside others of the same answer.
    """

    event_id: str | None
    content: str
    score: float | None
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BrainFigures:
    """What SomaBrain says of one drawer; None where it does not say."""

    wm_items: int | None
    circuit_open: bool | None
    outbox_pending: int | None

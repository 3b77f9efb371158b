"""What is asked of memories and what they answer. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.memory import Place


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to remember; `session_id` narrows to one conversation."""

    query: str
    place: Place
    top_k: int = 5
    session_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Recollection:
    """One memory that SomaBrain found; `score` as it gave it, `event_id` where it named one."""

    event_id: str | None
    content: str
    score: float | None
    payload: Mapping[str, Any]

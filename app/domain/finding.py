"""How memories that several stores found become one answer: each memory once, the best first. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.domain.ledger import Entry
from app.domain.recall import Question, Recollection

_LONGEST_WEIGHT = 6


class Source(StrEnum):
    """Where a memory was found; a memory that several have is told of by the first of these."""

    BRAIN = "brain"
    PENDING = "pending"
    REPLICA = "replica"


@dataclass(frozen=True, slots=True)
class Found:
    """One memory that answers a question; `score` lies in 0...1."""

    event_id: str | None
    content: str
    score: float
    role: str | None
    session_id: str | None
    source: Source
    created_at: datetime | None


class MemorySearch(Protocol):
    """Memories by their words, in our own stores."""

    def pending(self, question: Question) -> list[Found]:
        """Accepted, and not yet in SomaBrain; best first."""

    def replica(self, question: Question) -> list[Found]:
        """In the copy of the log; best first."""


def from_brain(found: Iterable[Recollection], entries: Mapping[str, Entry], tenant: str) -> list[Found]:
    """What SomaBrain found, but nothing that was forgotten meanwhile or that is another tenant's."""
    return [
        _from_brain(each, entries.get(each.event_id or "")) for each in found if _may_be_told(each, entries, tenant)
    ]


def _may_be_told(found: Recollection, entries: Mapping[str, Entry], tenant: str) -> bool:
    entry = entries.get(found.event_id or "")
    return entry is None or (entry.tenant == tenant and not entry.forgotten)


def _from_brain(found: Recollection, entry: Entry | None) -> Found:
    role, session_id = found.payload.get("role"), found.payload.get("session_id")
    return Found(
        event_id=found.event_id,
        content=found.content,
        score=min(max(found.score or 0.0, 0.0), 1.0),
        role=entry.role if entry else _text(role),
        session_id=entry.session_id if entry else _text(session_id),
        source=Source.BRAIN,
        created_at=entry.accepted_at if entry else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def merged(question: Question, *stores: Sequence[Found]) -> list[Found]:
    """At most `top_k` memories, none twice; of two stores the first one's word counts. Best first, then the newest."""
    once: dict[str, Found] = {}
    for found in (each for store in stores for each in store):
        if question.session_id in (None, found.session_id):
            once.setdefault(found.event_id or f"\n{found.content}", found)
    return sorted(once.values(), key=_rank)[: question.top_k]


def _rank(found: Found) -> tuple[float, float]:
    return (-found.score, -found.created_at.timestamp() if found.created_at else 0.0)


def share_of(asked: Sequence[str], held: Iterable[str]) -> float:
    """How much of a question's words a memory holds; a long word says more than a short one."""
    there = set(held)
    weights = {word: min(len(word), _LONGEST_WEIGHT) for word in asked}
    whole = sum(weights.values())
    return round(sum(weight for word, weight in weights.items() if word in there) / whole, 4) if whole else 0.0

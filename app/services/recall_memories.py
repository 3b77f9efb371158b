"""What is remembered about a question: SomaBrain's answer with what it does not have yet, or our own stores alone."""

from dataclasses import dataclass
from typing import Protocol

from app.domain.errors import BrainUnavailable, MemoryRefused
from app.domain.finding import Found, MemorySearch, from_brain, merged
from app.domain.ledger import Ledger
from app.domain.recall import Question, Recollection


class RecallingBrain(Protocol):
    """SomaBrain, as recall sees it."""

    def recall(self, question: Question, seconds: float | None = None) -> list[Recollection]: ...


@dataclass(frozen=True, slots=True)
class Recall:
    """What recalling needs. SomaBrain gets `seconds`, then the answer is made without it."""

    brain: RecallingBrain
    search: MemorySearch
    ledger: Ledger
    seconds: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """The memories, best first; `degraded` where SomaBrain had no part in it."""

    found: list[Found]
    degraded: bool


def recall_memories(question: Question, recall: Recall) -> Recalled:
    """Never the same memory twice, never a forgotten one; `StoreUnavailable` where even our own stores are away."""
    try:
        told = recall.brain.recall(question, recall.seconds)
    except (BrainUnavailable, MemoryRefused):
        found = merged(question, recall.search.pending(question), recall.search.replica(question))
        return Recalled(found, degraded=True)
    entries = recall.ledger.entries([each.event_id for each in told if each.event_id])
    remembered = from_brain(told, entries, question.place.tenant)
    return Recalled(merged(question, remembered, recall.search.pending(question)), degraded=False)

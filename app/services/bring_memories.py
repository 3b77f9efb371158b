"""What is remembered about a question, in time for its answer or not at all."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from app.domain.context import LONGEST_NOTE
from app.domain.conversation import Turn
from app.domain.errors import StoreUnavailable
from app.domain.finding import Found, Source
from app.domain.memory import place_of
from app.domain.recall import Question
from app.services.recall_memories import Recalled

RECALL_SECONDS = 0.3
_LONGEST_QUESTION = 2_000
_WANTED = 8


@dataclass(frozen=True, slots=True)
class Reminder:
    """`recall` ends within `RECALL_SECONDS`, with `StoreUnavailable` where that was too short; `replaced`
    tells which answers were given anew; `universe` and `namespace` are the installation's defaults.
    """

    recall: Callable[[Question], Recalled]
    replaced: Callable[[Collection[str]], Collection[str]]
    universe: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Brought:
    """Memories, best first; `degraded` where SomaBrain had no part in them, `late` where they did not come in time."""

    found: tuple[Found, ...] = ()
    degraded: bool = False
    late: bool = False

    def as_metadata(self) -> dict[str, Any]:
        """As `context.update` tells it."""
        results = [
            asdict(each) | {"created_at": each.created_at.isoformat() if each.created_at else None}
            for each in self.found
        ]
        return {"results": results, "degraded": self.degraded} | ({"late": True} if self.late else {})


def brought_of(metadata: Mapping[str, Any]) -> Brought:
    """What a `context.update` told."""
    found = tuple(_found(each) for each in metadata["results"])
    return Brought(found, metadata["degraded"], metadata.get("late", False))


def _found(told: Mapping[str, Any]) -> Found:
    at = told["created_at"]
    return Found(**{**told, "source": Source(told["source"]), "created_at": datetime.fromisoformat(at) if at else None})


def bring_memories(turn: Turn, text: str, heard: Collection[str], reminder: Reminder) -> Brought:
    """What is remembered about `text`, but nothing of what the model hears anyway (`heard`: ids of events) and no
    answer that was given anew.
    """
    place = place_of(turn.tenant, turn.metadata, reminder.universe, reminder.namespace)
    # Of what was said a moment ago most is remembered already, and found first.
    question = Question(text[:_LONGEST_QUESTION], place, _WANTED + min(len(heard), 30), traceparent=turn.traceparent)
    try:
        recalled = reminder.recall(question)
        void = {*heard, *reminder.replaced([each.event_id for each in recalled.found if each.event_id])}
    except StoreUnavailable:
        return Brought(degraded=True, late=True)
    new = [_cut(each) for each in recalled.found if each.event_id not in void]
    return Brought(tuple(new[:_WANTED]), recalled.degraded)


def _cut(found: Found) -> Found:
    return replace(found, content=found.content[:LONGEST_NOTE])

"""A turn as its session's stream tells of it, attempt by attempt, and clients of the OpenAI interface that read it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.domain.events import EventType
from app.domain.kept_turns import KeptTurn
from app.domain.turn_request import TurnRequest

Item = dict[str, Any]
EVENT_ID = "e-1"


def a_turn(**fields: Any) -> KeptTurn:
    """A turn that was accepted."""
    made: dict[str, Any] = {
        "event_id": EVENT_ID, "session_id": "s-1", "seq": 1, "tenant": "public", "state": "queued", "metadata": {},
        "request": TurnRequest(), "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return KeptTurn(**{**made, **fields})


def thinking(attempt: int) -> Item:
    return {
        "type": EventType.THINKING, "event_id": f"{EVENT_ID}:thinking:{attempt}", "message": "",
        "metadata": {"attempt": attempt},
    }  # fmt: skip


def delta(text: str) -> Item:
    return {"type": EventType.DELTA, "event_id": None, "message": text, "metadata": {}}


def tool_result() -> Item:
    return {"type": EventType.TOOL_RESULT, "event_id": "c-1:result", "message": "{}", "metadata": {}}


def ending(kind: EventType, text: str, attempt: int | None, **metadata: Any) -> Item:
    told = ({} if attempt is None else {"attempt": attempt}) | metadata
    return {"type": kind, "event_id": f"{EVENT_ID}:answer", "message": text, "metadata": told}


def final(text: str, attempt: int, **metadata: Any) -> Item:
    return ending(EventType.FINAL, text, attempt, **metadata)


@dataclass
class Timeline:
    """Everything that happens to a turn: every attempt's pieces, and its end."""

    attempts: Sequence[Sequence[str]]
    end: Item | None = None
    moments: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, pieces in enumerate(self.attempts, 1):
            self.moments += [thinking(number), *map(delta, pieces)]
        self.moments.append(self.end or final(self.text, len(self.attempts)))

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.attempts[-1])

    def from_(self, moment: int, durable: int) -> Iterator[tuple[int, Item]]:
        """What a reader gets who comes after so many moments, with the number of moments that it has seen then: first
        what is kept, of the running text not more than `durable` characters; the rest comes with the next piece.
        """
        text = ""
        for item in self.moments[:moment]:
            if item["type"] == EventType.DELTA:
                text += item["message"]
            else:
                text = ""
                yield moment, item
        kept, late = text[:durable], text[durable:]
        if kept:
            yield moment, delta(kept)
        for number, item in enumerate(self.moments[moment:], moment + 1):
            told = delta(late + item["message"]) if item["type"] == EventType.DELTA else item
            late = late if item["type"] == EventType.TOOL_RESULT else ""
            yield number, told

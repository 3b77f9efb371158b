"""`Transcripts`, in memory."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.domain.conversation import Turn
from app.domain.events import EventType, SessionEvent
from app.domain.transcript import Line, Summary

if TYPE_CHECKING:
    from tests.fakes_store import InMemoryStore

_SAID = (EventType.USER, EventType.FINAL, EventType.CANCELLED)


@dataclass
class InMemoryTranscripts:
    """On the truth that everybody else sees."""

    store: "InMemoryStore"

    def newest(self, session_id: str, up_to_turn: int, limit: int) -> list[Line]:
        return self._lines(session_id, lambda turn: turn <= up_to_turn)[-limit:]

    def following(self, session_id: str, after_turn: int, limit: int) -> list[Line]:
        return self._lines(session_id, lambda turn: turn > after_turn)[:limit]

    def latest(self, session_id: str) -> Turn | None:
        with self.store.transaction():
            asked = [event for event in self._heard(session_id) if event.type is EventType.USER]
        if not asked:
            return None
        last = asked[-1]
        return Turn(last.event_id, session_id, last.seq, last.tenant, last.persona_id, last.metadata, 0, "")

    def summary(self, session_id: str, before_turn: int) -> Summary | None:
        with self.store.transaction():
            kept = [made for (owner, to_turn), made in self.store.summaries.items() if owner == session_id]
        return max((made for made in kept if made.to_turn < before_turn), key=lambda made: made.to_turn, default=None)

    def keep_summary(self, session_id: str, summary: Summary) -> bool:
        with self.store.transaction():
            if session_id not in self.store.sessions or (session_id, summary.to_turn) in self.store.summaries:
                return False
            self.store.summaries[session_id, summary.to_turn] = summary
            return True

    def replaced(self, event_ids: Collection[str]) -> Collection[str]:
        with self.store.transaction():
            return self.store.superseded & set(event_ids)

    def brought(self, session_id: str, turn_seq: int) -> Mapping[str, Any] | None:
        with self.store.transaction():
            told = [event for event in self.store.events[session_id] if event.type is EventType.CONTEXT]
        return next((event.metadata for event in reversed(told) if event.turn_seq == turn_seq), None)

    def _heard(self, session_id: str) -> list[SessionEvent]:
        after = self.store.sessions[session_id].heard_after if session_id in self.store.sessions else 0
        said = self.store.events[session_id]
        return [each for each in said if (each.turn_seq or 0) > after and each.event_id not in self.store.superseded]

    def _lines(self, session_id: str, chosen: Callable[[int], bool]) -> list[Line]:
        with self.store.transaction():
            said = [event for event in self._heard(session_id) if event.type in _SAID and event.message]
        said.sort(key=lambda event: (event.turn_seq or 0, event.seq))
        return [_line(event) for event in said if chosen(event.turn_seq or 0)]


def _line(event: SessionEvent) -> Line:
    return Line(event.event_id, event.turn_seq or 0, event.role, event.message)

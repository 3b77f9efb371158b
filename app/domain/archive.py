"""A session as a document: what an export holds, an import brings back and a fork begins with. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from app.domain.events import ENDS_A_TURN, EventType

ARCHIVE_VERSION: Final = "sa01-chat-1"
MOST_EVENTS = 50_000


@dataclass(frozen=True, slots=True)
class ArchivedEvent:
    """One event: its envelope, the turn it belongs to, and whether its turn was given another answer since."""

    payload: Mapping[str, Any]
    turn_seq: int | None
    superseded: bool = False

    @property
    def seq(self) -> int:
        """Its place in the line."""
        return int(self.payload["seq"])

    @property
    def type(self) -> EventType:
        """What it is."""
        return EventType(self.payload["type"])


@dataclass(frozen=True, slots=True)
class Chat:
    """A session with all its events, oldest first, their numbers without a gap."""

    session_id: str
    tenant: str
    persona_id: str | None
    subject: str
    title: str | None
    metadata: Mapping[str, Any]
    analysis: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    heard_after: int
    events: tuple[ArchivedEvent, ...]

    @property
    def ids(self) -> list[str]:
        """The ids that nobody else may have: the session's and those of its events."""
        return [self.session_id, *(str(event.payload["event_id"]) for event in self.events)]


def branch(chat: Chat, seq: int, session_id: str) -> Chat:
    """What was said up to this number, as the beginning of another session: whole turns only, for what was owed in the
    old session is not owed in the new one. Where that is nothing, its first message gives it its name.
    """
    ended = {event.turn_seq for event in chat.events if event.type in ENDS_A_TURN and event.seq <= seq}
    kept = [event for event in chat.events if event.seq <= seq and event.turn_seq in ended | {None}]
    origin = {"forked_from": chat.session_id, "forked_at": seq}
    metadata = {**chat.metadata, **origin}
    begun = replace(chat, events=tuple(kept), metadata=metadata, title=chat.title if kept else None)
    return transplanted(begun, session_id)


def transplanted(chat: Chat, session_id: str) -> Chat:
    """The same under another id, its events under new ids and numbered anew."""
    places = {event.seq: number for number, event in enumerate(chat.events, 1)}
    events = tuple(_moved(event, session_id, places) for event in chat.events)
    heard_after = sum(1 for seq in places if seq <= chat.heard_after)
    return replace(chat, session_id=session_id, events=events, heard_after=heard_after)


def _moved(event: ArchivedEvent, session_id: str, places: Mapping[int, int]) -> ArchivedEvent:
    seq = places[event.seq]
    own = {"session_id": session_id, "event_id": f"{session_id}:{seq}", "seq": seq, "cursor": str(seq)}
    turn_seq = None if event.turn_seq is None else places.get(event.turn_seq)
    return replace(event, payload={**event.payload, **own}, turn_seq=turn_seq)


def flaw_in(events: Sequence[ArchivedEvent]) -> str | None:
    """What is wrong with these as the events of a session, in words; None where nothing is."""
    asked = {event.seq for event in events if event.type is EventType.USER}
    ended: set[int | None] = set()
    for number, event in enumerate(events, 1):
        if event.seq != number:
            return f"event {number} says that it is number {event.seq}; they must be 1, 2, 3 and so on"
        if event.turn_seq is not None and not (event.turn_seq in asked and event.turn_seq <= number):
            return f"event {number} belongs to the turn of event {event.turn_seq}, which is no message before it"
        if _ends(event) and event.turn_seq in ended:
            return f"event {number} ends a turn that has ended before"
        ended |= {event.turn_seq} if _ends(event) else set()
    return None


def _ends(event: ArchivedEvent) -> bool:
    return event.type in ENDS_A_TURN and event.turn_seq is not None

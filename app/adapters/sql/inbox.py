"""Step 2 of the line: one transaction that keeps a message, the turn it asks for and the memory it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.acceptance import accept, take_places
from app.adapters.sql.making_way import make_way
from app.adapters.sql.rows import APPEND_EVENTS, OWE_MEMORIES, as_json, events_as_json, memories_as_json, place_event
from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.events import EventType, NewEvent, SessionEvent
from app.domain.memory import Memory, memory_of, place_of

# One statement, since each costs a round trip while the session's row is locked.
_KEEP = text(f"""
    WITH appended AS ({APPEND_EVENTS}),
    queued AS (
        INSERT INTO turns (event_id, session_id, seq, tenant, persona_id, metadata, traceparent, request, deadline_at,
                           subject)
        VALUES (:event_id, :session_id, :seq, :tenant, :persona_id, CAST(:metadata AS jsonb), :traceparent,
                CAST(:request AS jsonb), :deliver_before, :subject)),
    {OWE_MEMORIES}
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class MemoryDefaults:
    """What a memory falls back on when its message names no place; `None` for the whole when memories are off."""

    universe: str
    namespace: str


class SqlInbox:
    """`Inbox` on Postgres."""

    def __init__(self, engine: Engine, memories: MemoryDefaults | None) -> None:
        self._engine = engine
        self._memories = memories

    def accept(self, message: UserMessage, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        """Keep the message, its turn and its memory."""
        receipt = Receipt(message.session_id, message.event_id)
        return accept(self._engine, receipt, key, lambda connection: self.keep(connection, message))

    def keep(self, connection: Connection, message: UserMessage) -> Sequence[SessionEvent]:
        """The same within a transaction that keeps more than the message."""
        # Two numbers are taken at once: the message and "a turn was accepted" follow one another.
        place = take_places(connection, message, 2)
        said = NewEvent(message.event_id, EventType.USER, "user", message.text, message.metadata)
        started = NewEvent(f"{message.event_id}:started", EventType.STARTED, "assistant", "", {"status": "started"})
        user = place_event(said, place, message.session_id, place["seq"], message.traceparent)
        after = dict(place) | {"seq": place["seq"] + 1}
        begun = place_event(started, after, message.session_id, place["seq"], message.traceparent)
        events, memories = events_as_json((user, begun)), memories_as_json(self._memories_of(user, message))
        connection.execute(_KEEP, _turn(user, message) | {"events": events, "memories": memories})
        # After its own event: a repetition of what came through unheard ends there.
        make_way(connection, message, user.seq)
        return user, begun

    def _memories_of(self, user: SessionEvent, message: UserMessage) -> Sequence[Memory]:
        if self._memories is None or not message.terms.remembered:
            return ()
        where = place_of(user.tenant, message.metadata, self._memories.universe, self._memories.namespace)
        return [memory_of(user, where, message.attachments)]


def _turn(user: SessionEvent, message: UserMessage) -> dict[str, object]:
    return {
        "event_id": user.event_id,
        "session_id": user.session_id,
        "seq": user.seq,
        "tenant": user.tenant,
        "persona_id": user.persona_id,
        "metadata": as_json(dict(message.metadata)),
        "traceparent": message.traceparent,
        "request": as_json(message.request.as_json()),
        "deliver_before": message.terms.deliver_before,
        "subject": message.subject,
    }

"""Step 2 of the line: one transaction that keeps a message, the turn it asks for and the memory it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.acceptance import accept, take_places
from app.adapters.sql.making_way import make_way
from app.adapters.sql.rows import append_event, as_json, owe_memory, place_event
from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.events import EventType, NewEvent, SessionEvent
from app.domain.memory import memory_of, place_of

_QUEUE_TURN = text("""
    INSERT INTO turns (event_id, session_id, seq, tenant, persona_id, metadata, traceparent, request, deadline_at,
                       subject)
    VALUES (:event_id, :session_id, :seq, :tenant, :persona_id, CAST(:metadata AS jsonb), :traceparent,
            CAST(:request AS jsonb), :deliver_before, :subject)
""")


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
        append_event(connection, user)
        append_event(connection, begun)
        # After its own event: a repetition of what came through unheard ends there.
        make_way(connection, message, user.seq)
        connection.execute(_QUEUE_TURN, _turn(user, message))
        if self._memories is not None and message.terms.remembered:
            where = place_of(user.tenant, message.metadata, self._memories.universe, self._memories.namespace)
            owe_memory(connection, memory_of(user, where, message.attachments))
        return user, begun


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

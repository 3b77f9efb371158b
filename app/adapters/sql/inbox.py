"""Step 2 of the line: one transaction that keeps a message, the turn it asks for and the memory it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg2.errors
from sqlalchemy import Connection, Engine, RowMapping, text
from sqlalchemy.exc import IntegrityError

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.patience import Patience, within
from app.adapters.sql.request_keys import answer_key, take_key
from app.adapters.sql.rows import append_event, as_json, owe_memory, place_event
from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.errors import NotFound
from app.domain.events import EventType, NewEvent, SessionEvent
from app.domain.memory import memory_of, place_of

# Two numbers are taken at once: the message and "a turn was accepted" follow one another.
_TAKE_PLACE = text("""
    INSERT INTO sessions AS s (session_id, tenant, persona_id, subject, metadata, next_seq)
    VALUES (:session_id, :tenant, :persona_id, :subject, CAST(:metadata AS jsonb), 2)
    ON CONFLICT (session_id) DO UPDATE
        SET next_seq = s.next_seq + 2, updated_at = now(), persona_id = coalesce(excluded.persona_id, s.persona_id)
        WHERE s.tenant = excluded.tenant OR NOT :tenant_named
    RETURNING next_seq - 1 AS seq, tenant, persona_id, clock_timestamp() AS now
""")
_QUEUE_TURN = text("""
    INSERT INTO turns (event_id, session_id, seq, tenant, persona_id, metadata, traceparent)
    VALUES (:event_id, :session_id, :seq, :tenant, :persona_id, CAST(:metadata AS jsonb), :traceparent)
""")

# A caller is answered within two seconds: most of them for keeping the message, the rest for finding out.
_BUDGET = Patience(greeting_seconds=1.2, seconds=1.85)
_FIRST_TRY = Patience(greeting_seconds=1.2, seconds=1.3)


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
        """Keep the message; a repeated key gives the first receipt again and keeps nothing. When the answer to the
        COMMIT was lost, what became of it is read within the two seconds that a caller is kept waiting.
        """
        with within(_BUDGET):
            return resolved(lambda unheard: self._find_out(message, key) if unheard else self._first_try(message, key))

    def _first_try(self, message: UserMessage, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        with within(_FIRST_TRY):
            return self._accept(message, key)

    def _find_out(self, message: UserMessage, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        """Try again under the same ids: that waits for a COMMIT still under way, and meets what it kept."""
        try:
            receipt, events = self._accept(message, key)
        except IntegrityError as error:
            if not isinstance(error.orig, psycopg2.errors.UniqueViolation):
                raise
            return Receipt(message.session_id, message.event_id), ()
        return replace(receipt, replayed=receipt.event_id != message.event_id), events

    def _accept(self, message: UserMessage, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        with transaction(self._engine) as connection:
            first = take_key(connection, key) if key is not None else None
            if first is not None:
                return first, ()
            events = self._keep(connection, message)
            receipt = Receipt(message.session_id, message.event_id)
            if key is not None:
                answer_key(connection, key, receipt)
            return receipt, events

    def _keep(self, connection: Connection, message: UserMessage) -> Sequence[SessionEvent]:
        place = _take_place(connection, message)
        said = NewEvent(message.event_id, EventType.USER, "user", message.text, message.metadata)
        started = NewEvent(f"{message.event_id}:started", EventType.STARTED, "assistant", "", {"status": "started"})
        user = place_event(said, place, message.session_id, place["seq"], message.traceparent)
        after = dict(place) | {"seq": place["seq"] + 1}
        begun = place_event(started, after, message.session_id, place["seq"], message.traceparent)
        append_event(connection, user)
        append_event(connection, begun)
        connection.execute(_QUEUE_TURN, _turn(user, message))
        if self._memories is not None:
            where = place_of(user.tenant, message.metadata, self._memories.universe, self._memories.namespace)
            owe_memory(connection, memory_of(user, where, message.attachments))
        return user, begun


def _take_place(connection: Connection, message: UserMessage) -> RowMapping:
    row = connection.execute(
        _TAKE_PLACE,
        {
            "session_id": message.session_id,
            "tenant": message.tenant,
            "tenant_named": message.tenant_named,
            "persona_id": message.persona_id,
            "subject": message.subject,
            "metadata": as_json(dict(message.metadata)),
        },
    )
    found = row.mappings().one_or_none()
    if found is None:
        raise NotFound("there is no such session")
    return found


def _turn(user: SessionEvent, message: UserMessage) -> dict[str, object]:
    return {
        "event_id": user.event_id,
        "session_id": user.session_id,
        "seq": user.seq,
        "tenant": user.tenant,
        "persona_id": user.persona_id,
        "metadata": as_json(dict(message.metadata)),
        "traceparent": message.traceparent,
    }

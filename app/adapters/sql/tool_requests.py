"""Where tool calls come from: one transaction that keeps the call and the event that shows it."""

from collections.abc import Sequence
from dataclasses import replace

import psycopg2.errors
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from app.adapters.sql.engine import transaction
from app.adapters.sql.patience import Patience, within
from app.adapters.sql.request_keys import answer_key, take_key
from app.adapters.sql.rows import append_event, as_json, place_event
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import CommitUnheard, NotFound
from app.domain.events import SessionEvent
from app.domain.tools import ToolRequest, queued_event

_TAKE_PLACE = text("""
    INSERT INTO sessions AS s (session_id, tenant, persona_id, subject, metadata, next_seq)
    VALUES (:session_id, :tenant, :persona_id, :subject, CAST(:metadata AS jsonb), 1)
    ON CONFLICT (session_id) DO UPDATE
        SET next_seq = s.next_seq + 1, updated_at = now(), persona_id = coalesce(excluded.persona_id, s.persona_id)
        WHERE s.tenant = excluded.tenant OR NOT :tenant_named
    RETURNING next_seq AS seq, tenant, persona_id, clock_timestamp() AS now
""")
_QUEUE_CALL = text("""
    INSERT INTO tool_calls (call_id, session_id, tenant, persona_id, tool, effect, args, metadata, traceparent)
    VALUES (:call_id, :session_id, :tenant, :persona_id, :tool, :effect, CAST(:args AS jsonb),
            CAST(:metadata AS jsonb), :traceparent)
""")

# As for a message: a caller is answered within two seconds, also when the answer to the COMMIT is lost.
_BUDGET = Patience(greeting_seconds=1.2, seconds=1.85)
_FIRST_TRY = Patience(greeting_seconds=1.2, seconds=1.3)


class SqlToolRequests:
    """`ToolRequests` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def accept(self, request: ToolRequest, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        """Keep the call; a repeated key gives the first receipt again and keeps nothing. What became of a COMMIT
        whose answer was lost is found out by trying again under the same ids.
        """
        with within(_BUDGET):
            try:
                with within(_FIRST_TRY):
                    return self._accept(request, key)
            except CommitUnheard:
                return self._find_out(request, key)

    def _find_out(self, request: ToolRequest, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        try:
            receipt, events = self._accept(request, key)
        except IntegrityError as error:
            if not isinstance(error.orig, psycopg2.errors.UniqueViolation):
                raise
            return Receipt(request.session_id, request.call_id), ()
        return replace(receipt, replayed=receipt.event_id != request.call_id), events

    def _accept(self, request: ToolRequest, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        with transaction(self._engine) as connection:
            first = take_key(connection, key) if key is not None else None
            if first is not None:
                return first, ()
            event = _keep(connection, request)
            receipt = Receipt(request.session_id, request.call_id)
            if key is not None:
                answer_key(connection, key, receipt)
            return receipt, (event,)


def _keep(connection: Connection, request: ToolRequest) -> SessionEvent:
    values = {
        "call_id": request.call_id,
        "session_id": request.session_id,
        "persona_id": request.persona_id,
        "subject": request.subject,
        "tool": request.tool,
        "effect": request.effect.value,
        "args": as_json(dict(request.args)),
        "metadata": as_json(dict(request.metadata)),
        "tenant_named": request.tenant_named,
        "traceparent": request.traceparent,
    }
    place = connection.execute(_TAKE_PLACE, values | {"tenant": request.tenant}).mappings().one_or_none()
    if place is None:
        raise NotFound("there is no such session")
    event = place_event(queued_event(request), place, request.session_id, None, request.traceparent)
    append_event(connection, event)
    connection.execute(_QUEUE_CALL, values | {"tenant": event.tenant, "persona_id": event.persona_id})
    return event

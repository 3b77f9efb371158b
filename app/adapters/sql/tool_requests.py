"""Where tool calls come from: one transaction that keeps the call and the event that shows it."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.acceptance import accept, take_places
from app.adapters.sql.rows import append_event, as_json, place_event
from app.domain.conversation import Receipt, RequestKey
from app.domain.events import SessionEvent
from app.domain.tools import ToolRequest, queued_event

_QUEUE_CALL = text("""
    INSERT INTO tool_calls (call_id, session_id, turn_event_id, tenant, persona_id, tool, effect, args, metadata,
                            traceparent)
    VALUES (:call_id, :session_id, :turn_event_id, :tenant, :persona_id, :tool, :effect, CAST(:args AS jsonb),
            CAST(:metadata AS jsonb), :traceparent)
""")


class SqlToolRequests:
    """`ToolRequests` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def accept(self, request: ToolRequest, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        """Keep the call and the event that shows it."""
        receipt = Receipt(request.session_id, request.call_id)
        return accept(self._engine, receipt, key, lambda connection: (_keep(connection, request),))


def _keep(connection: Connection, request: ToolRequest) -> SessionEvent:
    place = take_places(connection, request, 1)
    event = place_event(queued_event(request), place, request.session_id, None, request.traceparent)
    append_event(connection, event)
    queue_call(connection, request, event)
    return event


def queue_call(connection: Connection, request: ToolRequest, event: SessionEvent) -> None:
    """Owe the call whose event this is; the event knows whose its session is."""
    connection.execute(
        _QUEUE_CALL,
        {
            "call_id": request.call_id,
            "session_id": request.session_id,
            "turn_event_id": request.turn_event_id,
            "tenant": event.tenant,
            "persona_id": event.persona_id,
            "tool": request.tool,
            "effect": request.effect.value,
            "args": as_json(dict(request.args)),
            "metadata": as_json(dict(request.metadata)),
            "traceparent": request.traceparent,
        },
    )

"""The steps of turns that ask for tools: kept with their calls, read with their results, and called off."""

from dataclasses import asdict

from sqlalchemy import Connection, RowMapping, text

from app.adapters.sql.rows import append_next, as_json, find_event
from app.adapters.sql.tool_requests import queue_call
from app.domain.conversation import Turn
from app.domain.dialogue import ToolAsk, Usage
from app.domain.events import NewEvent, SessionEvent
from app.domain.tool_loop import Asked, Step, StepPlan, TakenStep
from app.domain.tools import queued_event

_COUNT = text("UPDATE turns SET steps = :step, failures = 0, last_error = NULL WHERE event_id = :event_id")
_KEEP = text("""
    INSERT INTO turn_steps (turn_event_id, step, tenant, attempt, text, asks, usage, escalated)
    VALUES (:event_id, :step, :tenant, :attempt, :text, CAST(:asks AS jsonb), CAST(:usage AS jsonb), :escalated)
""")
_KNOWN = text("""
    SELECT 1 FROM turn_steps WHERE turn_event_id = :event_id AND step = :step AND attempt = :attempt
""")
_STEPS = text("SELECT step, text, asks, usage, escalated FROM turn_steps WHERE turn_event_id = :event_id ORDER BY step")
_RESULTS = text("SELECT call_id, result FROM tool_calls WHERE call_id = ANY(:call_ids) AND result IS NOT NULL")
# Whoever has just taken one runs it to its end, which changes nothing any more.
_CALL_OFF = text("""
    UPDATE tool_calls SET state = 'cancelled', finished_at = now() WHERE call_id IN (
        SELECT call_id FROM tool_calls WHERE turn_event_id = :event_id AND state = 'queued' FOR UPDATE SKIP LOCKED)
""")


def keep_step(connection: Connection, turn: Turn, plan: StepPlan) -> list[SessionEvent]:
    """Write the step and its calls under the row lock of its turn, which counts it."""
    step = plan.step
    values = {"event_id": turn.event_id, "step": step.number}
    connection.execute(_COUNT, values)
    kept = {
        "tenant": turn.tenant,
        "attempt": turn.attempts,
        "text": step.text,
        "asks": as_json([asdict(asked) for asked in step.asked]),
        "usage": as_json(asdict(step.usage)),
        "escalated": step.escalated,
    }
    connection.execute(_KEEP, {**values, **kept})
    return [_queue(connection, turn, plan, number) for number in range(len(plan.calls))]


def _queue(connection: Connection, turn: Turn, plan: StepPlan, number: int) -> SessionEvent:
    call = plan.calls[number]
    event = append_next(connection, turn.session_id, queued_event(call), turn.seq, turn.traceparent)
    queue_call(connection, call, event)
    return event


def known_step(connection: Connection, turn: Turn, plan: StepPlan) -> list[SessionEvent] | None:
    """The events of the step that this very claim has kept already; None where it has not."""
    values = {"event_id": turn.event_id, "step": plan.step.number, "attempt": turn.attempts}
    if connection.execute(_KNOWN, values).scalar() is None:
        return None
    found = (_find(connection, turn, queued_event(call)) for call in plan.calls)
    return [event for event in found if event is not None]


def _find(connection: Connection, turn: Turn, event: NewEvent) -> SessionEvent | None:
    return find_event(connection, turn.session_id, event, turn.seq, turn.traceparent)


def taken_steps(connection: Connection, turn: Turn) -> list[TakenStep]:
    """In order; each with what its turn's calls have brought."""
    steps = [_step(row) for row in connection.execute(_STEPS, {"event_id": turn.event_id}).mappings()]
    call_ids = [call_id for step in steps for call_id in step.call_ids(turn.event_id)]
    found = connection.execute(_RESULTS, {"call_ids": call_ids}).mappings()
    results = {row["call_id"]: row["result"] for row in found}
    return [TakenStep(step, results) for step in steps]


def _step(row: RowMapping) -> Step:
    asked = tuple(Asked(ToolAsk(**kept["ask"]), kept["refusal"]) for kept in row["asks"])
    return Step(row["step"], row["text"], asked, Usage(**row["usage"]), row["escalated"])


def call_off(connection: Connection, event_id: str) -> None:
    """Calls of this turn that nobody has begun are never begun."""
    connection.execute(_CALL_OFF, {"event_id": event_id})

"""The tool calls that are owed: claimed like every other work, ended in one transaction with their result."""

from contextlib import AbstractContextManager

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.claims import Claims
from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.presence import Holder
from app.adapters.sql.rows import append_next, as_json, find_event, owe_memory
from app.adapters.sql.work_kinds import TOOL_CALLS
from app.domain.errors import CommitUnheard, LeaseLost
from app.domain.events import NewEvent, SessionEvent
from app.domain.memory import Place, tool_memory_of
from app.domain.tools import Effect, ToolCall, ToolEnd

_KEEP_RESULT = text("UPDATE tool_calls SET result = CAST(:result AS jsonb) WHERE call_id = :call_id")
_NOT_BEGUN = text("UPDATE tool_calls SET runs = runs - 1 WHERE call_id = ANY(:keys)")
_DUE = text(f"""
    SELECT w.call_id FROM tool_calls w
    WHERE w.state IN ({TOOL_CALLS.owed_sql}) AND w.run_at <= now() AND (w.lease_until IS NULL OR w.lease_until <= now())
    ORDER BY {TOOL_CALLS.order} LIMIT :limit
""")  # noqa: S608


class SqlToolCalls(Claims):
    """`ToolCalls` on Postgres."""

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float) -> None:
        super().__init__(engine, TOOL_CALLS, presence, lease_seconds)

    def working_on(self, call_id: str) -> AbstractContextManager[None]:
        """While the block runs, the heartbeat renews a lease on this call."""
        return self._presence.working_on(call_id, TOOL_CALLS)

    def claim(self, call_id: str) -> ToolCall | None:
        """This call, leased; whether it may run is for its reader to say."""
        call: ToolCall | None = None
        try:
            with transaction(self._engine) as connection:
                rows = self._leases.claim(connection, 1, [call_id])
                call = _call(rows[0]) if rows else None
        except CommitUnheard:
            return call if call is not None and self._really_held([call.lease]) else None
        return call

    def note(self, call: ToolCall, event: NewEvent) -> SessionEvent:
        """Append an event that does not end the call; a zombie's is refused by the row lock on its call."""
        return resolved(lambda again: self._note(call, event, again))

    def _note(self, call: ToolCall, event: NewEvent, again: bool) -> SessionEvent:
        with transaction(self._engine) as connection:
            if not self._leases.held(connection, [call.lease]):
                raise LeaseLost("the call belongs to another attempt")
            known = find_event(connection, call.session_id, event, None, call.traceparent) if again else None
            return known or append_next(connection, call.session_id, event, None, call.traceparent)

    def finish(self, call: ToolCall, event: NewEvent, end: ToolEnd, memory_place: Place | None) -> SessionEvent:
        """The call's last state with its result, the ending event and its memory, or nothing of them."""
        return resolved(lambda again: self._finish(call, event, end, memory_place, again))

    def _finish(
        self, call: ToolCall, event: NewEvent, end: ToolEnd, memory_place: Place | None, again: bool
    ) -> SessionEvent:
        with transaction(self._engine) as connection:
            known = self._known_end(connection, call, event, end) if again else None
            if known is not None:
                return known
            if not self._leases.settle(connection, [call.lease], end.state, end.reason):
                raise LeaseLost("the call belongs to another attempt")
            kept = {"status": end.status, "payload": end.payload, "execution_time": round(end.seconds, 3)}
            connection.execute(_KEEP_RESULT, {"call_id": call.call_id, "result": as_json(kept)})
            ended = append_next(connection, call.session_id, event, None, call.traceparent)
            if memory_place is not None:
                owe_memory(connection, tool_memory_of(ended, memory_place))
            return ended

    def _known_end(self, connection: Connection, call: ToolCall, event: NewEvent, end: ToolEnd) -> SessionEvent | None:
        """What this very claim has kept already; waits for its transaction if that is still under way."""
        if not self._leases.ended(connection, [call.lease], end.state):
            return None
        return find_event(connection, call.session_id, event, None, call.traceparent)

    def give_back(self, call: ToolCall, begun: bool) -> None:
        """Due again now; a claim in which the tool had not begun counts as no run."""
        self._end([call.lease], lambda connection: self._give_back(connection, call, begun))

    def _give_back(self, connection: Connection, call: ToolCall, begun: bool) -> set[str]:
        ours = self._leases.release(connection, [call.lease])
        if not begun:
            connection.execute(_NOT_BEGUN, {"keys": list(ours)})
        return ours

    def postpone(self, call: ToolCall, seconds: float, reason: str) -> None:
        """Due again after a pause."""
        leases = [call.lease]
        self._end(leases, lambda connection: self._leases.postpone(connection, leases, seconds, reason, outage=False))

    def survived(self, call: ToolCall) -> None:
        """This claim was lost and its worker lives; the heartbeat says so."""
        self._live_on([call.lease])

    def due(self, limit: int) -> list[str]:
        """Calls that could be claimed now, oldest first."""
        with transaction(self._engine) as connection:
            return list(connection.execute(_DUE, {"limit": limit}).scalars())


def _call(row: RowMapping) -> ToolCall:
    return ToolCall(
        call_id=row["call_id"],
        session_id=row["session_id"],
        tenant=row["tenant"],
        tool=row["tool"],
        effect=Effect(row["effect"]),
        args=row["args"],
        metadata=row["metadata"],
        attempts=row["attempts"],
        runs=row["runs"],
        deaths=row["deaths"],
        lease_owner=row["lease_owner"],
        failures=row["failures"],
        traceparent=row["traceparent"],
    )

"""The tool calls that are owed: claimed like every other work, ended in one transaction with their result."""

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.claims import Claims
from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.presence import Holder
from app.adapters.sql.rows import append_next, as_json, find_event, owe_memory
from app.adapters.sql.work_kinds import TOOL_CALLS
from app.domain.errors import LeaseLost
from app.domain.events import NewEvent, SessionEvent
from app.domain.memory import Place, tool_memory_of
from app.domain.tools import Effect, ToolCall, ToolEnd

_KEEP_RESULT = text("UPDATE tool_calls SET result = CAST(:result AS jsonb) WHERE call_id = :call_id")
_NOT_BEGUN = text("UPDATE tool_calls SET runs = runs - 1 WHERE call_id = ANY(:keys)")


class SqlToolCalls(Claims):
    """`ToolCalls` on Postgres."""

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float) -> None:
        super().__init__(engine, TOOL_CALLS, presence, lease_seconds)

    def claim(self, call_id: str) -> ToolCall | None:
        """This call, leased; whether it may run is for its reader to say."""
        return next(map(_call, self._claim(1, [call_id])), None)

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

    def wait(self, call: ToolCall, seconds: float, reason: str) -> None:
        """Due again after a pause; the claim counts as no run."""
        leases = [call.lease]
        self._end(leases, lambda connection: self._leases.wait(connection, leases, seconds, reason))

    def survived(self, call: ToolCall) -> None:
        """This claim was lost and its worker lives; the heartbeat says so."""
        self._live_on([call.lease])


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
        persona_id=row["persona_id"],
        turn_event_id=row["turn_event_id"],
    )

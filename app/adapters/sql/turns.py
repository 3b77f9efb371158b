"""The turns that conversation workers owe: claimed, kept alive by partial text, finished in one transaction."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.claims import Claims
from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.leases import is_worn_out
from app.adapters.sql.presence import Holder
from app.adapters.sql.rows import append_next, find_event, owe_memory
from app.adapters.sql.turn_steps import call_off, keep_step, known_step, taken_steps
from app.adapters.sql.work_kinds import TURNS
from app.domain.conversation import Turn
from app.domain.conversation_control import Why
from app.domain.endings import cancelled, late, worn_out
from app.domain.errors import LeaseLost
from app.domain.events import NewEvent, SessionEvent
from app.domain.kept_text import Saved
from app.domain.leases import MAX_ATTEMPTS, MAX_CLAIMS, Lease
from app.domain.memory import Place, memory_of
from app.domain.tool_loop import StepPlan, TakenStep
from app.domain.turn_request import request_of

# Never waits for a row that somebody else has locked, so it cannot wait in a circle with the heartbeat, which renews
# many rows at once, too; such a row comes along the next time.
_SAVE_PARTIALS = text("""
    WITH said AS (
        SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:owners AS text[]), CAST(:attempts AS integer[]),
                             CAST(:texts AS text[])) AS said (event_id, owner, attempts, partial)
    ), ours AS MATERIALIZED (
        SELECT t.event_id, said.partial FROM turns t JOIN said ON t.event_id = said.event_id
        WHERE t.state = 'running' AND t.lease_owner IS NOT DISTINCT FROM said.owner AND t.attempts = said.attempts
        FOR UPDATE OF t SKIP LOCKED
    ), kept AS (
        UPDATE turns t SET partial_text = ours.partial FROM ours WHERE t.event_id = ours.event_id RETURNING t.event_id
    )
    SELECT said.event_id, kept.event_id IS NOT NULL AS kept,
           t.state IS DISTINCT FROM 'running' OR t.lease_owner <> said.owner OR t.attempts <> said.attempts AS lost
    FROM said LEFT JOIN turns t ON t.event_id = said.event_id LEFT JOIN kept ON kept.event_id = said.event_id
""")
_ASKED_TO_STOP = text("""
    SELECT event_id, cancel_requested FROM turns
    WHERE event_id = ANY(:event_ids) AND (cancel_requested OR deadline_at <= now()) AND state = 'running'
""")
NEXT_DUE = text("""
    SELECT event_id FROM turns WHERE session_id = :session_id AND state = 'queued' AND run_at <= now()
    ORDER BY seq LIMIT 1
""")
"""The session's next turn that may run now."""


class SqlTurns(Claims):
    """`Turns` on Postgres."""

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float) -> None:
        super().__init__(engine, TURNS, presence, lease_seconds)

    def claim(self, event_id: str) -> Turn | None:
        """This turn, leased; one that killed its workers too often is buried instead."""
        return next(map(_turn, self._claim(1, [event_id])), None)

    def _is_spent(self, row: RowMapping) -> bool:
        is_tired = is_worn_out(row, MAX_ATTEMPTS) or _turn(row).claims > MAX_CLAIMS
        return row["cancel_requested"] or _is_late(row) or is_tired

    def _end_spent(self, connection: Connection, rows: Sequence[RowMapping]) -> None:
        for row in rows:
            turn = _turn(row)
            call_off(connection, turn.event_id)
            self._end_with(connection, turn, *_last_words(turn, row))

    def save_partials(self, texts: Sequence[tuple[Turn, str]]) -> Saved:
        """Keep the texts so far, in one statement."""
        said = {
            "keys": [turn.event_id for turn, _ in texts],
            "owners": [turn.lease_owner for turn, _ in texts],
            "attempts": [turn.attempts for turn, _ in texts],
            "texts": [partial for _, partial in texts],
        }
        with transaction(self._engine) as connection:
            rows = connection.execute(_SAVE_PARTIALS, said).all()
        kept = frozenset(row.event_id for row in rows if row.kept)
        return Saved(kept, frozenset(row.event_id for row in rows if row.lost and not row.kept))

    def asked_to_stop(self, event_ids: Collection[str]) -> dict[str, Why]:
        """Those of these turns that are to end without their answers."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_ASKED_TO_STOP, {"event_ids": list(event_ids)}).all()
        return {event_id: Why.CANCELLED if cancelled else Why.LATE for event_id, cancelled in rows}

    def note(self, turn: Turn, event: NewEvent) -> SessionEvent:
        """Append an event; a zombie's is refused by the row lock on its turn."""
        return resolved(lambda again: self._note(turn, event, again))

    def _note(self, turn: Turn, event: NewEvent, again: bool) -> SessionEvent:
        with transaction(self._engine) as connection:
            self._still_ours(connection, turn)
            known = find_event(connection, turn.session_id, event, turn.seq, turn.traceparent) if again else None
            return known or append_next(connection, turn.session_id, event, turn.seq, turn.traceparent)

    def _still_ours(self, connection: Connection, turn: Turn) -> None:
        held = {"event_id": turn.event_id, "owner": turn.lease_owner, "attempts": turn.attempts}
        if connection.execute(_LOCK_OURS, held).scalar_one_or_none() is None:
            raise LeaseLost("the turn belongs to another attempt")

    def take_step(self, turn: Turn, plan: StepPlan) -> Sequence[SessionEvent]:
        """The step with its calls and their events, and the turn given back, or nothing of them."""
        return resolved(lambda again: self._take_step(turn, plan, again))

    def _take_step(self, turn: Turn, plan: StepPlan, again: bool) -> Sequence[SessionEvent]:
        with transaction(self._engine) as connection:
            # Given back first: whoever holds the row's lock meanwhile is waited for.
            ours = self._leases.release(connection, [_lease(turn)])
            known = known_step(connection, turn, plan) if again and not ours else None
            if known is not None:
                return known
            if not ours:
                raise LeaseLost("the turn belongs to another attempt")
            return keep_step(connection, turn, plan)

    def steps(self, turn: Turn) -> list[TakenStep]:
        """The steps so far."""
        with transaction(self._engine) as connection:
            return taken_steps(connection, turn)

    def finish(self, turn: Turn, event: NewEvent, state: str, memory_place: Place | None) -> SessionEvent:
        """The ending event, the turn's last state and the answer's memory, or nothing of them."""
        return resolved(lambda again: self._finish(turn, event, state, memory_place, again))

    def _finish(self, turn: Turn, event: NewEvent, state: str, memory_place: Place | None, again: bool) -> SessionEvent:
        with transaction(self._engine) as connection:
            known = self._known_end(connection, turn, event, state) if again else None
            if known is not None:
                return known
            ended = self._end_with(connection, turn, event, state)
            if memory_place is not None:
                owe_memory(connection, memory_of(ended, memory_place))
            return ended

    def _known_end(self, connection: Connection, turn: Turn, event: NewEvent, state: str) -> SessionEvent | None:
        """What this very claim has kept already; waits for its transaction if that is still under way."""
        if not self._leases.ended(connection, [_lease(turn)], state):
            return None
        return find_event(connection, turn.session_id, event, turn.seq, turn.traceparent)

    def _end_with(self, connection: Connection, turn: Turn, event: NewEvent, state: str) -> SessionEvent:
        reason = None if state == "done" else str(event.metadata.get("reason", ""))
        if not self._leases.settle(connection, [_lease(turn)], state, reason):
            raise LeaseLost("the turn belongs to another attempt")
        return append_next(connection, turn.session_id, event, turn.seq, turn.traceparent)

    def postpone(self, turn: Turn, seconds: float, reason: str) -> None:
        """Give the turn back; the attempt's text is forgotten with it."""
        leases = [_lease(turn)]
        self._end(leases, lambda connection: self._leases.postpone(connection, leases, seconds, reason, outage=False))

    def wait(self, turn: Turn, seconds: float, reason: str) -> None:
        """Give the turn back as it was; the claim is not held against it."""
        leases = [_lease(turn)]
        self._end(leases, lambda connection: self._leases.wait(connection, leases, seconds, reason))

    def lose(self, turn: Turn, reason: str) -> None:
        """Give back a turn whose own process ended over it: that is a death."""
        resolved(lambda _: self._lose(turn, reason))

    def _lose(self, turn: Turn, reason: str) -> None:
        with transaction(self._engine) as connection:
            self._leases.lose(connection, [_lease(turn)], reason)

    def survived(self, turn: Turn) -> None:
        """This claim was lost and its worker lives; the heartbeat says so."""
        self._live_on([_lease(turn)])

    def next_due(self, session_id: str) -> str | None:
        """The session's next queued turn."""
        with transaction(self._engine) as connection:
            return connection.execute(NEXT_DUE, {"session_id": session_id}).scalar_one_or_none()


_LOCK_OURS = text("""
    SELECT 1 FROM turns
    WHERE event_id = :event_id AND state = 'running' AND lease_owner = :owner AND attempts = :attempts FOR UPDATE
""")


def _is_late(row: RowMapping) -> bool:
    return row["deadline_at"] is not None and row["deadline_at"] <= row["claimed_at"]


def _last_words(turn: Turn, row: RowMapping) -> tuple[NewEvent, str]:
    if row["cancel_requested"]:
        return cancelled(turn.event_id), "cancelled"
    return (late(turn), "failed") if _is_late(row) else (worn_out(turn), "dead")


def _turn(row: Any) -> Turn:
    return Turn(
        event_id=row["event_id"],
        session_id=row["session_id"],
        seq=row["seq"],
        tenant=row["tenant"],
        persona_id=row["persona_id"],
        metadata=row["metadata"],
        attempts=row["attempts"],
        lease_owner=row["lease_owner"],
        failures=row["failures"],
        deaths=row["deaths"],
        traceparent=row["traceparent"],
        request=request_of(row["request"]),
        deliver_before=row["deadline_at"],
        subject=row["subject"],
        steps=row["steps"],
        undecided=row["undecided"],
    )


def _lease(turn: Turn) -> Lease:
    return Lease(turn.event_id, turn.lease_owner, turn.attempts, turn.failures)

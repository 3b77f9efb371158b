"""Schedules whose time has come: the message, the note of the run and the next time, in one transaction.

The row's lock is the claim, and it ends with the transaction: a worker that is killed leaves the time due, as it was.
"""

from datetime import timedelta

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.inbox import SqlInbox
from app.adapters.sql.schedule_rows import schedule_in
from app.domain.schedule_ports import Ran
from app.domain.schedules import Outcome, Schedule, Step, after_failure, message_of, moved_on, step

# In any order: whatever stops a round over one of them does not stop the next round over the same one.
_DUE = text("SELECT schedule_id FROM schedules WHERE next_run_at <= now() ORDER BY random() LIMIT :limit")
_LOCK = text("""
    SELECT *, clock_timestamp() AS now FROM schedules WHERE schedule_id = :schedule_id AND next_run_at <= now()
    FOR UPDATE SKIP LOCKED
""")
_GO_ON = text("""
    UPDATE schedules SET next_run_at = :next_run_at, enabled = :enabled, last_error = :reason
    WHERE schedule_id = :schedule_id
""")
_NOTE = text("""
    INSERT INTO schedule_runs (schedule_id, due_at, tenant, outcome, times, event_id, reason)
    VALUES (:schedule_id, :due_at, :tenant, :outcome, :times, :event_id, :reason)
    ON CONFLICT (schedule_id, due_at) DO NOTHING
""")


class SqlDueSchedules:
    """`DueSchedules` on Postgres; what comes later than `grace_seconds` was missed."""

    def __init__(self, engine: Engine, inbox: SqlInbox, grace_seconds: float) -> None:
        self._engine = engine
        self._inbox = inbox
        self._grace = timedelta(seconds=grace_seconds)

    def due(self, limit: int) -> list[str]:
        """Some whose time has come."""
        with transaction(self._engine) as connection:
            return list(connection.execute(_DUE, {"limit": limit}).scalars())

    def run(self, schedule_id: str) -> Ran | None:
        """When the answer to the COMMIT was lost, looking again finds the time still due, or the schedule gone on."""
        return resolved(lambda _: self._run(schedule_id))

    def _run(self, schedule_id: str) -> Ran | None:
        with transaction(self._engine) as connection:
            row = connection.execute(_LOCK, {"schedule_id": schedule_id}).mappings().one_or_none()
            return None if row is None else self._advance(connection, row)

    def _advance(self, connection: Connection, row: RowMapping) -> Ran:
        schedule = schedule_in(row)
        taken = step(schedule, row["now"], self._grace)
        _go_on(connection, moved_on(schedule, taken))
        message = message_of(schedule, taken.due_at) if taken.sends else None
        # A clock that was set back brings a time again: it has run.
        if not _note(connection, row, taken, message.event_id if message else None) or message is None:
            return Ran(taken.outcome)
        return Ran(taken.outcome, message.event_id, self._inbox.keep(connection, message))

    def fail(self, schedule_id: str, reason: str) -> bool:
        """The reason is kept with the run and with the schedule."""
        return resolved(lambda _: self._fail(schedule_id, reason))

    def _fail(self, schedule_id: str, reason: str) -> bool:
        with transaction(self._engine) as connection:
            row = connection.execute(_LOCK, {"schedule_id": schedule_id}).mappings().one_or_none()
            if row is None:
                return False
            after = after_failure(schedule_in(row), row["now"], reason)
            _go_on(connection, after)
            failed = Step(row["next_run_at"], Outcome.FAILED, 1, after.next_run_at)
            return _note(connection, row, failed, None, reason)


def _go_on(connection: Connection, schedule: Schedule) -> None:
    values = {
        "schedule_id": schedule.schedule_id,
        "next_run_at": schedule.next_run_at,
        "enabled": schedule.enabled,
        "reason": schedule.reason,
    }
    connection.execute(_GO_ON, values)


def _note(
    connection: Connection, row: RowMapping, taken: Step, event_id: str | None, reason: str | None = None
) -> bool:
    values = {
        "schedule_id": row["schedule_id"],
        "due_at": taken.due_at,
        "tenant": row["tenant"],
        "outcome": taken.outcome.value,
        "times": taken.times,
        "event_id": event_id,
        "reason": reason,
    }
    return bool(connection.execute(_NOTE, values).rowcount)

"""What people may do with a turn that is owed: have it stopped."""

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.rows import append_next, find_event
from app.adapters.sql.turn_steps import call_off
from app.domain.conversation_control import Stopping
from app.domain.endings import cancelled

_OWED = text("""
    SELECT event_id FROM turns
    WHERE session_id = :session_id AND state IN ('queued', 'running')
      AND (CAST(:event_id AS text) IS NULL OR event_id = :event_id)
    ORDER BY seq LIMIT 1
""")
_LOCK = text("SELECT event_id, session_id, seq, state, traceparent FROM turns WHERE event_id = :event_id FOR UPDATE")
_ASK = text("UPDATE turns SET cancel_requested = true WHERE event_id = :event_id")
_END = text("""
    UPDATE turns SET state = 'cancelled', cancel_requested = true, finished_at = now() WHERE event_id = :event_id
""")


class SqlTurnControl:
    """`TurnControl` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def cancel(self, session_id: str, event_id: str | None) -> Stopping:
        """End a turn that waits, and ask whoever answers one to stop."""
        with transaction(self._engine) as connection:
            wanted = {"session_id": session_id, "event_id": event_id}
            found = connection.execute(_OWED, wanted).scalar_one_or_none()
        if found is None:
            return Stopping(False)
        return resolved(lambda again: self._cancel(found, again))

    def _cancel(self, event_id: str, again: bool) -> Stopping:
        with transaction(self._engine) as connection:
            row = connection.execute(_LOCK, {"event_id": event_id}).mappings().one()
            if row["state"] == "running":
                connection.execute(_ASK, {"event_id": event_id})
                return Stopping(True)
            if row["state"] == "queued":
                return _end(connection, row)
            return _known_end(connection, row) if again else Stopping(False)


def _end(connection: Connection, row: RowMapping) -> Stopping:
    connection.execute(_END, {"event_id": row["event_id"]})
    call_off(connection, row["event_id"])
    word = cancelled(row["event_id"])
    return Stopping(True, append_next(connection, row["session_id"], word, row["seq"], row["traceparent"]))


def _known_end(connection: Connection, row: RowMapping) -> Stopping:
    """The COMMIT whose answer was lost had ended it."""
    word = cancelled(row["event_id"])
    ended = find_event(connection, row["session_id"], word, row["seq"], row["traceparent"])
    return Stopping(ended is not None, ended)

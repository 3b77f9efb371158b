"""Sessions as a whole: held, named, begun anew, gone."""

from sqlalchemy import Engine, TextClause, text

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.turns import NEXT_DUE

_PAUSE = text("UPDATE sessions SET paused = :paused WHERE session_id = :session_id")
_RENAME = text("UPDATE sessions SET title = :title WHERE session_id = :session_id")
# The session's row first, as everybody does who takes a place in its line.
_RESET = text("UPDATE sessions SET heard_after = next_seq, analysis = '{}' WHERE session_id = :session_id")
_STOP_ALL = text("""
    UPDATE turns SET cancel_requested = true WHERE session_id = :session_id AND state IN ('queued', 'running')
""")
_FORGET_SUMMARIES = text("DELETE FROM session_summaries WHERE session_id = :session_id")
_DELETE = text("DELETE FROM sessions WHERE session_id = :session_id")


class SqlSessions:
    """`Sessions` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pause(self, session_id: str, paused: bool) -> bool:
        """The claim looks at it."""
        return self._change(_PAUSE, session_id, paused=paused)

    def next_due(self, session_id: str) -> str | None:
        """Whoever released a session rings for this one."""
        with transaction(self._engine) as connection:
            return connection.execute(NEXT_DUE, {"session_id": session_id}).scalar_one_or_none()

    def rename(self, session_id: str, title: str) -> bool:
        """Also over a name that it was given by itself."""
        return self._change(_RENAME, session_id, title=title)

    def reset(self, session_id: str) -> bool:
        """Turns that are owed are ended by whoever holds or would begin them."""
        return resolved(lambda _: self._reset(session_id))

    def _reset(self, session_id: str) -> bool:
        values = {"session_id": session_id}
        with transaction(self._engine) as connection:
            known = bool(connection.execute(_RESET, values).rowcount)
            connection.execute(_STOP_ALL, values)
            connection.execute(_FORGET_SUMMARIES, values)
            return known

    def delete(self, session_id: str) -> bool:
        """Said of a session that an unheard COMMIT had deleted, too."""
        return resolved(lambda again: self._delete(session_id) or again)

    def _delete(self, session_id: str) -> bool:
        with transaction(self._engine) as connection:
            return bool(connection.execute(_DELETE, {"session_id": session_id}).rowcount)

    def _change(self, statement: TextClause, session_id: str, **values: object) -> bool:
        def change(_again: bool) -> bool:
            with transaction(self._engine) as connection:
                return bool(connection.execute(statement, {"session_id": session_id, **values}).rowcount)

        return resolved(change)

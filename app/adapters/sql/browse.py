"""Cursor-paged lists for people: sessions, a session's events, the replica. Keyset, never OFFSET."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, RowMapping, text

from app.adapters.sql.engine import all_rows, transaction
from app.adapters.sql.memory_search import COLUMNS, Span, find_page
from app.domain.browse import MemoryFilter, Position

_SESSION_COLUMNS = "session_id, persona_id, tenant, subject, title, metadata, analysis, paused, created_at, updated_at"
_MEMORY = text(f"SELECT {COLUMNS} FROM memory_replica m WHERE m.event_id = :event_id")  # noqa: S608


class SqlBrowser:
    """`Browser` on Postgres: each list reads as much of an index as it shows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sessions(self, tenant: str | None, before: tuple[datetime, str] | None, limit: int) -> Sequence[RowMapping]:
        """Newest first; `before` is (created_at, session_id) of the last row seen."""
        conditions = ["true"]
        if tenant is not None:
            conditions.append("tenant = :tenant")
        if before is not None:
            conditions.append("(created_at, session_id) < (:time, :session_id)")
        time, session_id = before or (None, None)
        statement = f"""
            SELECT {_SESSION_COLUMNS} FROM sessions WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, session_id DESC LIMIT :limit"""  # noqa: S608
        asked = {"tenant": tenant, "time": time, "session_id": session_id, "limit": limit}
        return all_rows(self._engine, text(statement), asked)

    def session(self, session_id: str) -> RowMapping | None:
        """One session."""
        statement = f"SELECT {_SESSION_COLUMNS} FROM sessions WHERE session_id = :session_id"  # noqa: S608
        rows = all_rows(self._engine, text(statement), {"session_id": session_id})
        return rows[0] if rows else None

    def session_events(self, session_id: str, after: int, limit: int) -> Sequence[RowMapping]:
        """Oldest first, from `seq` above `after`."""
        statement = """
            SELECT seq, created_at, payload FROM session_events
            WHERE session_id = :session_id AND seq > :after ORDER BY seq LIMIT :limit"""
        return all_rows(self._engine, text(statement), {"session_id": session_id, "after": after, "limit": limit})

    def memories(self, wanted: MemoryFilter, before: Position | None, limit: int) -> Sequence[RowMapping]:
        """Newest first, from below `before` on."""
        with transaction(self._engine) as connection:
            return find_page(connection, wanted, Span(before), limit)

    def memory(self, event_id: str) -> RowMapping | None:
        """One row of the replica."""
        rows = all_rows(self._engine, _MEMORY, {"event_id": event_id})
        return rows[0] if rows else None

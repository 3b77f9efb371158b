"""Cursor-paged lists for people: sessions, a session's events, the replica. Keyset, never OFFSET."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, RowMapping, text

from app.adapters.sql.engine import transaction

_SESSION_COLUMNS = "session_id, persona_id, tenant, subject, metadata, analysis, paused, created_at, updated_at"
_MEMORY_COLUMNS = (
    "id, event_id, session_id, persona_id, tenant, role, coord, request_id, trace_id, payload, wal_timestamp,"
    " created_at, deleted_at"
)
_MEMORY_FILTERS = ("tenant", "persona_id", "role", "session_id", "universe", "namespace")


class SqlBrowser:
    """`Browser` on Postgres: each list is one statement over one index."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sessions(self, tenant: str | None, before: tuple[str, str] | None, limit: int) -> Sequence[RowMapping]:
        """Newest first; `before` is (created_at ISO, session_id) of the last row seen."""
        conditions = ["true"]
        if tenant is not None:
            conditions.append("tenant = :tenant")
        if before is not None:
            conditions.append("(created_at, session_id) < (CAST(:time AS timestamptz), :session_id)")
        time, session_id = before or (None, None)
        statement = f"""
            SELECT {_SESSION_COLUMNS} FROM sessions WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, session_id DESC LIMIT :limit"""  # noqa: S608
        return self._all(statement, {"tenant": tenant, "time": time, "session_id": session_id, "limit": limit})

    def session_events(self, session_id: str, after: int, limit: int) -> Sequence[RowMapping]:
        """Oldest first, from `seq` above `after`."""
        statement = """
            SELECT seq, created_at, payload FROM session_events
            WHERE session_id = :session_id AND seq > :after ORDER BY seq LIMIT :limit"""
        return self._all(statement, {"session_id": session_id, "after": after, "limit": limit})

    def memories(
        self, filters: Mapping[str, str], before: tuple[float, int] | None, limit: int
    ) -> Sequence[RowMapping]:
        """Newest first; `filters` may name tenant, persona_id, role, session_id, universe, namespace."""
        conditions = [f"{name} = :{name}" for name in _MEMORY_FILTERS if name in filters]
        if before is not None:
            conditions.append("(wal_timestamp, id) < (:time, :id)")
        time, row_id = before or (None, None)
        statement = f"""
            SELECT {_MEMORY_COLUMNS} FROM memory_replica WHERE {" AND ".join(["true", *conditions])}
            ORDER BY wal_timestamp DESC, id DESC LIMIT :limit"""  # noqa: S608
        return self._all(statement, {**filters, "time": time, "id": row_id, "limit": limit})

    def memory(self, event_id: str) -> RowMapping | None:
        """One row of the replica."""
        statement = f"SELECT {_MEMORY_COLUMNS} FROM memory_replica WHERE event_id = :event_id"  # noqa: S608
        rows = self._all(statement, {"event_id": event_id})
        return rows[0] if rows else None

    def _all(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[RowMapping]:
        with transaction(self._engine) as connection:
            return connection.execute(text(statement), dict(parameters)).mappings().all()

"""The rebuilt replica as a brain gets it: in order, a stretch at a time, never what is forgotten.

The order is that of `id`. That is safe here: the switch waited for every writer, so no smaller id appears later among
the rows that it left behind; what was written after it was remembered before it came into the log.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.rebuild_jobs import current_of, end, hold, rebuild_of
from app.adapters.sql.rows import memory_of_row
from app.domain.errors import LeaseLost
from app.domain.memory import Memory, idempotency_key
from app.domain.rebuild import MemoryPage, Rebuild, RebuildState

_FORGOTTEN = "r.deleted_at IS NOT NULL OR l.forgotten_at IS NOT NULL"
_PAGE = text(f"""
    SELECT r.*, {_FORGOTTEN} AS forgotten FROM memory_replica r
    LEFT JOIN memory_ledger l ON l.event_id = r.event_id AND l.tenant = r.tenant
    WHERE r.id > :cursor ORDER BY r.id LIMIT :limit
""")  # noqa: S608 - our own words
_FORGOTTEN_SINCE = text("""
    SELECT r.* FROM memory_replica r LEFT JOIN memory_ledger l ON l.event_id = r.event_id AND l.tenant = r.tenant
    WHERE r.id > :start AND r.id <= :end AND (r.deleted_at >= :since OR l.forgotten_at >= :since)
""")
_PASSED = text("""
    UPDATE memory_rebuilds
    SET cursor = :end, remembered = remembered + :remembered, refused = refused + :refused,
        error = coalesce(error, :reason), updated_at = now()
    WHERE id = :id AND state = 'remembering' AND cursor = :start RETURNING *
""")


class SqlRebuiltMemories:
    """`RebuiltMemories` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def current(self) -> Rebuild | None:
        """The one that is under way."""
        with transaction(self._engine) as connection:
            return current_of(connection)

    def page(self, rebuild: Rebuild, limit: int) -> MemoryPage:
        """The next stretch of rows."""
        with transaction(self._engine) as connection:
            found = connection.execute(_PAGE, {"cursor": rebuild.cursor, "limit": limit}).mappings().all()
        memories = tuple(_memory(row) for row in found if not row["forgotten"])
        end_of_stretch = found[-1]["id"] if found else rebuild.cursor
        return MemoryPage(rebuild.cursor, end_of_stretch, memories, last=len(found) < limit)

    def forgotten_since(self, rebuild: Rebuild, page: MemoryPage) -> list[Memory]:
        """By the ledger or by the log."""
        where = {"start": page.start, "end": page.end, "since": rebuild.created_at}
        with transaction(self._engine) as connection:
            return [_memory(row) for row in connection.execute(_FORGOTTEN_SINCE, where).mappings()]

    def passed(self, rebuild: Rebuild, page: MemoryPage, remembered: int, refused: Sequence[str]) -> Rebuild:
        """The first reason stays."""
        told: dict[str, Any] = {"id": rebuild.id, "start": page.start, "end": page.end, "remembered": remembered}
        told |= {"refused": len(refused), "reason": refused[0] if refused else None}
        with transaction(self._engine) as connection:
            row = connection.execute(_PASSED, told).mappings().first()
        if row is None:
            raise LeaseLost("somebody was faster, or the rebuild is over")
        return rebuild_of(row)

    def complete(self, rebuild: Rebuild) -> None:
        """The end."""
        with transaction(self._engine) as connection:
            hold(connection, rebuild, RebuildState.REMEMBERING)
            end(connection, rebuild.id, RebuildState.COMPLETED, rebuild.error)


def _memory(row: RowMapping) -> Memory:
    memory = memory_of_row(row)
    # What other programs have written into the log may have no key: its own time makes one that is always the same.
    said_at = datetime.fromtimestamp(row["wal_timestamp"], UTC)
    own = idempotency_key(memory.place, memory.session_id, memory.role, said_at, memory.event_id)
    return replace(memory, idempotency_key=str(memory.payload.get("idempotency_key") or own))

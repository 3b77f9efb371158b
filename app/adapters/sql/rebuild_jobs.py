"""The rebuilds as rows: one at a time, each with how far it is; and what people may do with them."""

from dataclasses import asdict
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.audit import write_audit
from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json
from app.domain.audit import AuditEntry
from app.domain.errors import Conflict, LeaseLost, NotFound
from app.domain.rebuild import Comparison, Rebuild, RebuildKind, RebuildState, TableDigest

REBUILT = "memory_replica_rebuilt"
"""The table that grows beside the replica."""
_CURRENT = text("SELECT * FROM memory_rebuilds WHERE finished_at IS NULL")
_ONE = text("SELECT * FROM memory_rebuilds WHERE id = :id")
_START = text("""
    INSERT INTO memory_rebuilds (id, kind) VALUES (:id, :kind)
    ON CONFLICT ((true)) WHERE finished_at IS NULL DO NOTHING RETURNING *
""")
_END = text("""
    UPDATE memory_rebuilds SET state = :state, error = :error, finished_at = now(), updated_at = now()
    WHERE id = :id AND finished_at IS NULL RETURNING *
""")
_HOLD = text("SELECT state FROM memory_rebuilds WHERE id = :id FOR UPDATE")


class SqlRebuildDesk:
    """`RebuildDesk` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, kind: RebuildKind, entry: AuditEntry) -> tuple[Rebuild, bool]:
        """A new one, or the one that is under way."""
        while True:
            with transaction(self._engine) as connection:
                made = connection.execute(_START, {"id": str(uuid4()), "kind": kind}).mappings().first()
                if made is not None:
                    write_audit(connection, entry.having(id=made["id"]))
                    return rebuild_of(made), True
                running = current_of(connection)
            # The one that was in the way may have ended in between: then there is room for ours.
            if running is not None:
                return running, False

    def find(self, rebuild_id: str) -> Rebuild | None:
        """As it stands."""
        with transaction(self._engine) as connection:
            row = connection.execute(_ONE, {"id": rebuild_id}).mappings().first()
            return rebuild_of(row) if row is not None else None

    def cancel(self, rebuild_id: str, entry: AuditEntry) -> Rebuild:
        """End it; a slice that is under way finds it ended and keeps nothing."""
        with transaction(self._engine) as connection:
            ended = end(connection, rebuild_id, RebuildState.CANCELLED)
            if ended is not None:
                write_audit(connection, entry)
                return ended
            if connection.execute(_ONE, {"id": rebuild_id}).first() is None:
                raise NotFound("there is no such rebuild")
            raise Conflict("this rebuild is over")


def current_of(connection: Connection) -> Rebuild | None:
    """The rebuild that is under way."""
    row = connection.execute(_CURRENT).mappings().first()
    return rebuild_of(row) if row is not None else None


def hold(connection: Connection, rebuild: Rebuild, state: RebuildState) -> None:
    """To the end of the transaction nobody else moves this rebuild; `LeaseLost` unless it is in that state."""
    found = connection.execute(_HOLD, {"id": rebuild.id}).scalar()
    if found != state:
        raise LeaseLost(f"the rebuild is {found} by now")


def end(connection: Connection, rebuild_id: str, state: RebuildState, error: str | None = None) -> Rebuild | None:
    """Bring it to an end and drop what it made; None where it had one."""
    row = connection.execute(_END, {"id": rebuild_id, "state": state, "error": error}).mappings().first()
    if row is None:
        return None
    connection.execute(text(f"DROP TABLE IF EXISTS {REBUILT}"))
    return rebuild_of(row)


def rebuild_of(row: RowMapping) -> Rebuild:
    """The rebuild in a row."""
    values = {name: row[name] for name in Rebuild.__dataclass_fields__}
    told = {"kind": RebuildKind(row["kind"]), "state": RebuildState(row["state"])}
    return Rebuild(**{**values, **told, "comparison": _comparison(row["comparison"])})


def comparison_text(comparison: Comparison) -> str:
    """As it lies in the row."""
    return as_json(asdict(comparison))


def _comparison(told: dict[str, Any] | None) -> Comparison | None:
    if told is None:
        return None
    tables = {name: TableDigest(**told[name]) for name in ("old", "new")}
    return Comparison(**{**told, **tables, "examples": tuple(told["examples"])})

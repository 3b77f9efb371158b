"""The work that is owed or dead, as the desk sees it: one list over every kind, counts, and a person's three deeds."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql import leases
from app.adapters.sql.audit import write_audit
from app.adapters.sql.engine import transaction
from app.adapters.sql.work_kinds import KINDS, RECORDS, WorkKind
from app.domain.audit import AuditEntry
from app.domain.desk import WorkCount, WorkFilter, WorkItem, WorkName, WorkPlace, WorkState

_KINDS = {WorkName(kind.name): kind for kind in KINDS}
_MOST_RECORDS = 2**63 - 1
_HELD = "coalesce(w.lease_until > now(), false)"
_STANDS = {
    WorkState.OWED: f"NOT {_HELD} AND NOT w.outage",
    WorkState.WAITING: f"NOT {_HELD} AND w.outage",
    WorkState.LEASED: _HELD,
}
_DEAD, _OWED = 0, 1


class SqlWorkDesk:
    """`WorkDesk` on Postgres; of finished rows nothing is read, however many there are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def counts(self) -> list[WorkCount]:
        """In the order of `WorkName`."""
        with transaction(self._engine) as connection:
            return [WorkCount(**connection.execute(text(_count(kind))).mappings().one()) for kind in KINDS]

    def items(self, wanted: WorkFilter, after: WorkPlace | None, limit: int) -> list[WorkItem]:
        """One page over all the kinds that are meant."""
        statement = f"""
            SELECT * FROM ({" UNION ALL ".join(_lists(wanted, after is not None))}) everything
            ORDER BY rank, listed_at, kind COLLATE "C", id COLLATE "C" LIMIT :limit"""  # noqa: S608
        place = {"rank": after.rank, "at": after.listed_at, "kind": after.kind, "id": after.id} if after else {}
        with transaction(self._engine) as connection:
            return [_item(row) for row in connection.execute(text(statement), {**place, "limit": limit}).mappings()]

    def item(self, kind: WorkName, key: str) -> WorkItem | None:
        """By its key; a record's is a number."""
        found = _KINDS[kind]
        if not _fits(found, key):
            return None
        columns = _columns(found, _OWED, "coalesce(w.finished_at, w.created_at)")
        statement = f"{columns} WHERE w.{found.key} = CAST(:key AS {found.key_type})"
        with transaction(self._engine) as connection:
            row = connection.execute(text(statement), {"key": key}).mappings().one_or_none()
            return None if row is None else _item(row)

    def hurry(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        """Due now."""
        return self._change(leases.hurry, kind, key, entry)

    def revive(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        """Alive again."""
        return self._change(leases.revive, kind, key, entry)

    def discard(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        """Away for good."""
        return self._change(leases.discard, kind, key, entry)

    def _change(
        self, deed: Callable[[Connection, WorkKind, str], bool], kind: WorkName, key: str, entry: AuditEntry
    ) -> bool:
        if not _fits(_KINDS[kind], key):
            return False
        with transaction(self._engine) as connection:
            done = deed(connection, _KINDS[kind], key)
            if done:
                write_audit(connection, entry)
            return done


def _fits(kind: WorkKind, key: str) -> bool:
    return kind is not RECORDS or (key.isascii() and key.isdecimal() and len(key) < 20 and int(key) <= _MOST_RECORDS)


def _columns(kind: WorkKind, rank: int, listed_at: str) -> str:
    topic = "w.topic" if kind is RECORDS else "NULL::text"
    return f"""
        SELECT {rank} AS rank, '{kind.name}' AS kind, w.{kind.key}::text AS id,
               CASE WHEN w.state NOT IN ({kind.owed_sql}) THEN w.state WHEN {_HELD} THEN '{WorkState.LEASED}'
                    WHEN w.outage THEN '{WorkState.WAITING}' ELSE '{WorkState.OWED}' END AS state,
               w.tenant, {kind.session} AS session_id, {topic} AS topic, w.attempts, w.failures,
               w.last_error AS reason, w.run_at, w.created_at, w.lease_owner, {listed_at} AS listed_at
        FROM {kind.table} w"""  # noqa: S608


def _lists(wanted: WorkFilter, pages: bool) -> list[str]:
    """One bounded list per kind, and for each its dead and its living rows."""
    lists = []
    for kind in map(_KINDS.__getitem__, wanted.kinds):
        if wanted.state in (None, WorkState.DEAD):
            lists.append(_list(kind, _DEAD, "w.finished_at", "w.state = 'dead'", pages))
        if wanted.state != WorkState.DEAD:
            stands = _STANDS[wanted.state] if wanted.state else "true"
            lists.append(_list(kind, _OWED, "w.created_at", f"w.state IN ({kind.owed_sql}) AND {stands}", pages))
    return lists


def _list(kind: WorkKind, rank: int, listed_at: str, condition: str, pages: bool) -> str:
    key = f'w.{kind.key}::text COLLATE "C"'
    here = f"""({rank}, {listed_at}, '{kind.name}' COLLATE "C", {key})"""
    beyond = f"{here} > (:rank, CAST(:at AS timestamptz), :kind, :id)" if pages else "true"
    return f"""
        ({_columns(kind, rank, listed_at)}
        WHERE {condition} AND {beyond} ORDER BY {listed_at}, {key} LIMIT :limit)"""


def _count(kind: WorkKind) -> str:
    stands = ", ".join(f"count(*) FILTER (WHERE {condition}) AS {state}" for state, condition in _STANDS.items())
    return f"""
        SELECT '{kind.name}' AS kind, {stands},
               (SELECT count(*) FROM {kind.table} gone WHERE gone.state = 'dead') AS dead,
               coalesce(extract(epoch FROM now() - min(w.created_at)), 0)::float AS oldest_age_seconds
        FROM {kind.table} w WHERE w.state IN ({kind.owed_sql})"""  # noqa: S608


def _item(row: RowMapping) -> WorkItem:
    values: dict[str, Any] = {name: value for name, value in row.items() if name != "rank"}
    return WorkItem(**values)

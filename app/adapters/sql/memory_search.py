"""Memories in the replica, newest first, by any filters: what a filter of theirs means in SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.adapters.sql.word_search import Search, Shelf, find_newest, search_on
from app.domain.browse import MemoryFilter, Position

COLUMNS = (
    "m.id, m.event_id, m.session_id, m.persona_id, m.tenant, m.role, m.universe, m.namespace, m.coord, m.request_id,"
    " m.trace_id, coalesce(m.payload, '{}') AS payload, m.wal_timestamp, m.created_at, m.deleted_at"
)
_REPLICA = Shelf(
    table="memory_replica",
    columns=COLUMNS,
    place=("wal_timestamp", "id"),
    key=("id",),
    said="memory_text(m.payload)",
    indexed="memory_replica",
)


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of the order: below `before`, among the rows that had an id of at most `upto_id`."""

    before: Position | None = None
    upto_id: int | None = None


def search_for(connection: Connection, wanted: MemoryFilter, span: Span) -> Search:
    """The filters as SQL."""
    values: dict[str, Any] = dict(wanted.equal)
    plain = [f"m.{name} = :{name}" for name in values]
    if wanted.min_ts is not None:
        plain.append("m.wal_timestamp >= CAST(:min_ts AS double precision)")
        values["min_ts"] = wanted.min_ts
    # One upper end only: a scan begins at one of them, and would walk from there to the other.
    below = span.before
    if wanted.max_ts is not None and (below is None or below.wal_timestamp > wanted.max_ts):
        plain.append("m.wal_timestamp <= CAST(:max_ts AS double precision)")
        values["max_ts"] = wanted.max_ts
    elif below is not None:
        plain.append("(m.wal_timestamp, m.id) < (CAST(:time AS double precision), CAST(:id AS bigint))")
        values |= {"time": below.wal_timestamp, "id": below.row_id}
    if span.upto_id is not None:
        plain.append("m.id <= :upto_id")
        values["upto_id"] = span.upto_id
    return search_on(connection, _REPLICA, wanted.words, plain, values)


def find_page(
    connection: Connection, wanted: MemoryFilter, span: Span, limit: int, shape: Callable[[str], str] = str
) -> Sequence[RowMapping]:
    """The newest `limit` of the span; `shape` may make something else of the statement for their columns."""
    return find_newest(connection, search_for(connection, wanted, span), limit, shape)


def count(connection: Connection, search: Search) -> int:
    """How many there are in all."""
    statement = f"SELECT count(*) {search.shelf.source} WHERE {search.conditions}"
    return int(connection.execute(text(statement), search.values).scalar_one())


def as_lines(statement: str, columns: str = "id, wal_timestamp, line") -> str:
    """The same rows as JSON text, made by Postgres: `line`, beside the place of each."""
    wanted = columns.replace("line", "row_to_json(item)::text AS line")
    return f"SELECT {wanted} FROM ({statement}) item"  # noqa: S608

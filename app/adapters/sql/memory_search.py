"""Finding memories in the replica, newest first, by any filters; each way of looking ends in an index.

Without words the planner is right: one index has every filter's order. For words there are two ways, and a wrong guess
costs a thousandfold: walking from the newest on until enough are found (common words), or finding all through the word
index and sorting (rare ones). So the newest are looked at first, and the planner's statistics decide about the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.domain.browse import NEWEST_LOOKED_AT, MemoryFilter, Position, all_of, contains, walking_is_cheaper

COLUMNS = (
    "m.id, m.event_id, m.session_id, m.persona_id, m.tenant, m.role, m.universe, m.namespace, m.coord, m.request_id,"
    " m.trace_id, coalesce(m.payload, '{}') AS payload, m.wal_timestamp, m.created_at, m.deleted_at"
)
_ORDER = "m.wal_timestamp DESC, m.id DESC"
_FROM = "FROM memory_replica m"
_LEXEMES = text("SELECT tsvector_to_array(memory_words(:words))")
_GUESS = text("EXPLAIN (FORMAT JSON) SELECT 1 FROM memory_replica m WHERE m.words @@ CAST(:query AS tsquery)")
_ROWS = text("SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'memory_replica'::regclass")


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of the order: below `before`, among the rows that had an id of at most `upto_id`."""

    before: Position | None = None
    upto_id: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """The filters as conditions on `m`: those that a column decides, and those on the text, with all their values."""

    plain: str
    on_text: str
    values: dict[str, Any]

    @property
    def conditions(self) -> str:
        """Everything that must hold."""
        return f"{self.plain} AND {self.on_text}" if self.on_text else self.plain

    def walk(self) -> str:
        """The statement that gives the newest `:limit` in order, the planner choosing how."""
        return f"SELECT {COLUMNS} {_FROM} WHERE {self.conditions} ORDER BY {_ORDER} LIMIT :limit"


def search_for(connection: Connection, wanted: MemoryFilter, span: Span) -> Search:
    """The filters as SQL; Postgres itself says which words its index has for those that are looked for."""
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
    on_text, needed = _on_text(connection, wanted)
    return Search(" AND ".join(plain) or "true", on_text, values | needed)


def _on_text(connection: Connection, wanted: MemoryFilter) -> tuple[str, dict[str, Any]]:
    if not wanted.words:
        return "", {}
    values: dict[str, Any] = {}
    conditions: list[str] = []
    if lexemes := connection.execute(_LEXEMES, {"words": " ".join(wanted.words)}).scalar_one():
        conditions.append("m.words @@ CAST(:query AS tsquery)")
        values["query"] = all_of(lexemes)
    for number, word in enumerate(wanted.literal_words):
        conditions.append(f"memory_text(m.payload) ILIKE :word_{number} ESCAPE '\\'")
        values[f"word_{number}"] = contains(word)
    return " AND ".join(conditions) or "false", values


def find_page(
    connection: Connection, wanted: MemoryFilter, span: Span, limit: int, shape: Callable[[str], str] = str
) -> Sequence[RowMapping]:
    """The newest `limit` of the span; `shape` may make something else of the statement for their columns."""
    search = search_for(connection, wanted, span)

    def rows(statement: str) -> Sequence[RowMapping]:
        return connection.execute(text(shape(statement)), search.values | {"limit": limit}).mappings().all()

    if not search.on_text:
        return rows(search.walk())
    newest = rows(_among_the_newest(search))
    if len(newest) == limit or not _there_are_more(connection, search):
        return newest
    if _should_walk(connection, search, limit):
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        return rows(search.walk())
    return rows(_find_all_first(search))


def _among_the_newest(search: Search) -> str:
    return f"""
        SELECT {COLUMNS} FROM (
            SELECT m.* {_FROM} WHERE {search.plain} ORDER BY {_ORDER} LIMIT {NEWEST_LOOKED_AT}) m
        WHERE {search.on_text} ORDER BY {_ORDER} LIMIT :limit"""  # noqa: S608


def _there_are_more(connection: Connection, search: Search) -> bool:
    beyond = f"SELECT 1 {_FROM} WHERE {search.plain} ORDER BY {_ORDER} OFFSET {NEWEST_LOOKED_AT} LIMIT 1"
    return connection.execute(text(beyond), search.values).scalar() is not None


def _should_walk(connection: Connection, search: Search, limit: int) -> bool:
    if "query" not in search.values:
        return True
    plan = connection.execute(_GUESS, {"query": search.values["query"]}).scalar_one()
    rows = connection.execute(_ROWS).scalar_one()
    return walking_is_cheaper(plan[0]["Plan"]["Plan Rows"], rows, limit)


def _find_all_first(search: Search) -> str:
    return f"""
        WITH found AS MATERIALIZED (SELECT m.id, m.wal_timestamp {_FROM} WHERE {search.conditions}),
        newest AS MATERIALIZED (SELECT m.id FROM found m ORDER BY {_ORDER} LIMIT :limit)
        SELECT {COLUMNS} FROM newest JOIN memory_replica m ON m.id = newest.id ORDER BY {_ORDER}"""  # noqa: S608


def count(connection: Connection, search: Search) -> int:
    """How many there are in all."""
    statement = f"SELECT count(*) {_FROM} WHERE {search.conditions}"
    return int(connection.execute(text(statement), search.values).scalar_one())


def as_lines(statement: str, columns: str = "id, wal_timestamp, line") -> str:
    """The same rows as JSON text, made by Postgres: `line`, beside the place of each."""
    wanted = columns.replace("line", "row_to_json(item)::text AS line")
    return f"SELECT {wanted} FROM ({statement}) item"  # noqa: S608

"""Finding rows by their words, newest first, whatever else they are filtered by; each way of looking ends in an index.

Without words the planner is right: one index has every filter's order. For words there are two ways, and a wrong guess
costs a thousandfold: walking from the newest on until enough are found (common words), or finding all through the word
index and sorting (rare ones). So the newest are looked at first, and the planner's statistics decide about the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.domain.browse import NEWEST_LOOKED_AT, all_of, contains, literal_words, walking_is_cheaper

_LEXEMES = text("SELECT tsvector_to_array(memory_words(:words))")
_ROWS = text("SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = CAST(:name AS regclass)")


@dataclass(frozen=True, slots=True)
class Shelf:
    """A table `m` whose rows have their `words` beside them. `place` are the columns of the order, the newest last;
    `key` are those that name a row. `said` is the text that the words are from, `indexed` the table, or the index that
    has all rows with words and no others.
    """

    table: str
    columns: str
    place: tuple[str, ...]
    key: tuple[str, ...]
    said: str
    indexed: str

    @property
    def order(self) -> str:
        """Newest first."""
        return ", ".join(f"m.{name} DESC" for name in self.place)

    @property
    def source(self) -> str:
        """What is read."""
        return f"FROM {self.table} m"


@dataclass(frozen=True, slots=True)
class Search:
    """Filters as conditions on `m`: those that a column decides, and those on the text, with all their values."""

    shelf: Shelf
    plain: str
    on_text: str
    values: dict[str, Any]

    @property
    def conditions(self) -> str:
        """Everything that must hold."""
        return f"{self.plain} AND {self.on_text}" if self.on_text else self.plain

    def walk(self) -> str:
        """The statement that gives the newest `:limit` in order, the planner choosing how."""
        shelf = self.shelf
        return f"SELECT {shelf.columns} {shelf.source} WHERE {self.conditions} ORDER BY {shelf.order} LIMIT :limit"


def search_on(
    connection: Connection, shelf: Shelf, words: Sequence[str], plain: Sequence[str], values: dict[str, Any]
) -> Search:
    """The `plain` conditions with their values, and those for the words; Postgres itself says what its index has for
    the words that are looked for.
    """
    on_text, needed = _on_text(connection, words, shelf.said) if words else ("", {})
    return Search(shelf, " AND ".join(plain) or "true", on_text, values | needed)


def _on_text(connection: Connection, words: Sequence[str], said: str) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {}
    conditions: list[str] = []
    if lexemes := connection.execute(_LEXEMES, {"words": " ".join(words)}).scalar_one():
        conditions.append("m.words @@ CAST(:query AS tsquery)")
        values["query"] = all_of(lexemes)
    for number, word in enumerate(literal_words(words)):
        conditions.append(f"{said} ILIKE :word_{number} ESCAPE '\\'")
        values[f"word_{number}"] = contains(word)
    return " AND ".join(conditions) or "false", values


def find_newest(
    connection: Connection, search: Search, limit: int, shape: Callable[[str], str] = str
) -> Sequence[RowMapping]:
    """The newest `limit` that match; `shape` may make something else of the statement for their columns."""

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
    shelf = search.shelf
    return f"""
        SELECT {shelf.columns} FROM (
            SELECT m.* {shelf.source} WHERE {search.plain} ORDER BY {shelf.order} LIMIT {NEWEST_LOOKED_AT}) m
        WHERE {search.on_text} ORDER BY {shelf.order} LIMIT :limit"""  # noqa: S608


def _there_are_more(connection: Connection, search: Search) -> bool:
    shelf = search.shelf
    beyond = f"SELECT 1 {shelf.source} WHERE {search.plain} ORDER BY {shelf.order} OFFSET {NEWEST_LOOKED_AT} LIMIT 1"
    return connection.execute(text(beyond), search.values).scalar() is not None


def _should_walk(connection: Connection, search: Search, limit: int) -> bool:
    if "query" not in search.values:
        return True
    guess = f"EXPLAIN (FORMAT JSON) SELECT 1 {search.shelf.source} WHERE m.words @@ CAST(:query AS tsquery)"
    plan = connection.execute(text(guess), {"query": search.values["query"]}).scalar_one()
    rows = connection.execute(_ROWS, {"name": search.shelf.indexed}).scalar_one()
    return walking_is_cheaper(plan[0]["Plan"]["Plan Rows"], rows, limit)


def _find_all_first(search: Search) -> str:
    shelf = search.shelf
    key = ", ".join(shelf.key)
    found = ", ".join(f"m.{name}" for name in dict.fromkeys((*shelf.key, *shelf.place)))
    return f"""
        WITH found AS MATERIALIZED (SELECT {found} {shelf.source} WHERE {search.conditions}),
        newest AS MATERIALIZED (SELECT {key} FROM found m ORDER BY {shelf.order} LIMIT :limit)
        SELECT {shelf.columns} FROM newest JOIN {shelf.table} m USING ({key}) ORDER BY {shelf.order}"""  # noqa: S608

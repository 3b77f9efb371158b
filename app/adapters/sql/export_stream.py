"""The memories of one consistent moment, as lines, for an export that its reader waits for."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.memory_search import Span, as_lines, count, search_for
from app.adapters.sql.word_search import Search
from app.domain.browse import MemoryFilter
from app.domain.export_ports import MemorySnapshot
from app.domain.rate_limit import OverLimit

# The server's clock between two fetches runs while the reader takes what was fetched.
_BEGIN = text("""
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = '60s';
    SET LOCAL idle_in_transaction_session_timeout = '60s';
    SET LOCAL cursor_tuple_fraction = 1
""")
_SLOT = text("SELECT pg_try_advisory_xact_lock(:room, :slot)")
_ROOM = 752_601_101
"""The first half of the advisory locks that are slots for exports; what else we lock has one number, not two."""
_PAGE_BYTES = 2**20
_FIRST_ROWS = 64
_RETRY_SECONDS = 5.0


class SqlExportStream:
    """`ExportStream` on Postgres, on an engine of its own. A slot is a lock of the export's transaction, so that it is
    free when that ends, however it ends; all processes share `at_once` of them.
    """

    def __init__(self, engine: Engine, at_once: int, page_rows: int) -> None:
        self._engine = engine
        self._at_once = at_once
        self._page_rows = page_rows

    @contextmanager
    def snapshot(self, wanted: MemoryFilter) -> Iterator[MemorySnapshot]:
        """The memories as they are now, for as long as the block runs."""
        with transaction(self._engine) as connection:
            connection.execute(_BEGIN)
            self._take_slot(connection)
            yield SqlSnapshot(connection, search_for(connection, wanted, Span()), self._page_rows)

    def _take_slot(self, connection: Connection) -> None:
        for slot in range(self._at_once):
            if connection.execute(_SLOT, {"room": _ROOM, "slot": slot}).scalar_one():
                return
        raise OverLimit(f"at most {self._at_once} exports run at once; try again when one has ended", _RETRY_SECONDS)


class SqlSnapshot:
    """`MemorySnapshot` on a transaction that sees one moment."""

    def __init__(self, connection: Connection, search: Search, page_rows: int) -> None:
        self._connection = connection
        self._search = search
        self._page_rows = page_rows

    def pages(self, limit: int) -> Iterator[list[str]]:
        """Lines, newest first, in pages of about a megabyte."""
        declare = f"DECLARE exported NO SCROLL CURSOR FOR {as_lines(self._search.walk(), 'line')}"
        self._connection.execute(text(declare), self._search.values | {"limit": limit})
        rows = min(_FIRST_ROWS, self._page_rows)
        while lines := self._fetch(rows):
            yield lines
            rows = rows_that_fit(lines, self._page_rows)

    def _fetch(self, rows: int) -> list[str]:
        return list(self._connection.execute(text(f"FETCH FORWARD {rows} FROM exported")).scalars())

    def count(self) -> int:
        """All that match."""
        return count(self._connection, self._search)


def rows_that_fit(lines: list[str], most: int) -> int:
    """How many rows to read next, so that a page stays near a megabyte; after small ones at most four times as many."""
    size = sum(map(len, lines)) or 1
    return max(1, min(most, len(lines) * 4, len(lines) * _PAGE_BYTES // size))

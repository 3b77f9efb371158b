"""`make bench-browse`: what a page of the replica costs and how fast an export is, up to a million memories.

A page is asked for as the gateway asks, at the beginning of the list and in its middle, by turns. An export writes its
lines into a file, and `COPY` writes the same lines into another one right after it. The indexes are built after each
filling up, which takes a fraction of the time. `python -m bench.memory_browse 1000 10000` measures these sizes only.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
from sqlalchemy import Engine, text

from app.adapters.sql.browse import SqlBrowser
from app.adapters.sql.engine import create_engine
from app.adapters.sql.export_stream import SqlExportStream
from app.adapters.sql.memory_search import COLUMNS, as_lines
from app.adapters.sql.patience import UNHURRIED, give_back
from app.domain.browse import MemoryFilter, Position
from app.services.export_memory import Exporting, export_memory
from app.wiring.process import SystemClock
from bench.pair import HEAD, SIZES, Stretch
from devstack.stack import Stack

REPEATS, FILL_AT_ONCE = 40, 25_000
PAGE_GOAL_MS, GROWTH_GOAL, COPY_GOAL, MEMORY_GOAL_MIB = 30.0, 2.0, 0.5, 64.0
_BEGINNING = 1_700_000_000.0

# Thirty words of twenty thousand, the first ones far more often than the last; one word in one memory of a thousand,
# one in one of ten thousand that never stands in the largest tenant's.
_FILL = text("""
    INSERT INTO memory_replica (event_id, tenant, role, session_id, persona_id, universe, namespace, coord, request_id,
                                payload, wal_timestamp, version, body_digest)
    SELECT 'm-' || n, 't-' || tenant, (ARRAY['user', 'assistant', 'tool'])[1 + n % 3], 's-' || n / 20, 'p-' || n % 50,
           'u-' || n % 4, 'n-' || n % 3, '{0.1,0.2,0.3}', 'r-' || n,
           jsonb_build_object('id', 'm-' || n, 'type', 'conversation_event', 'metadata', '{}'::jsonb, 'content',
               'memory ' || said || CASE WHEN n % 1000 = 7 THEN ' thousandth' ELSE '' END
               || CASE WHEN n % 10000 = 9 AND tenant > 0 THEN ' elsewhere' ELSE '' END),
           :beginning + n, 1, sha256(n::text::bytea)
    FROM (SELECT n, CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n % 100 END AS tenant,
                 (SELECT string_agg('w' || (power(random(), 4) * 20000)::int, ' ')
                  FROM generate_series(1, 30 + n * 0)) AS said
          FROM generate_series(:first, :last) n) made""")

_TENANTS = {"half of all": "t-0", "one in a hundred": "t-7"}
_WORDS = {
    "common": ("memory",),
    "frequent": ("w100",),
    "of a thousand": ("thousandth",),
    "rare": ("elsewhere",),
    "absent": ("none",),
}
_INDEXES = text("""
    SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memory_replica' AND indexdef NOT LIKE 'CREATE UNIQUE%'
""")
FILTERS: dict[str, MemoryFilter] = {
    "no filter": MemoryFilter(),
    **{f"tenant, {name}": MemoryFilter(tenant=tenant) for name, tenant in _TENANTS.items()},
    "persona": MemoryFilter(persona_id="p-7"),
    "role": MemoryFilter(role="tool"),
    "session": MemoryFilter(session_id="s-9"),
    "universe": MemoryFilter(universe="u-2"),
    "namespace": MemoryFilter(namespace="n-1"),
    "min_ts, max_ts": MemoryFilter(min_ts=_BEGINNING + 100, max_ts=_BEGINNING + 900),
    **{f"q, {name}": MemoryFilter(words=words) for name, words in _WORDS.items()},
    **{
        f"tenant, {share} + q, {name}": MemoryFilter(tenant=tenant, words=words)
        for share, tenant in _TENANTS.items()
        for name, words in _WORDS.items()
    },
}


def main(sizes: tuple[int, ...] = SIZES) -> int:
    """Fill up, measure, fill up further; the exit status is 1 when a goal is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-browse-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations"}) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], 3, "bench", UNHURRIED)
        pages: dict[int, dict[str, float]] = {}
        met = False
        for before, size in zip((0, *sizes), sizes, strict=False):
            _fill(engine, before + 1, size)
            pages[size] = {name: _p95_ms(engine, wanted, size) for name, wanted in FILTERS.items()}
            met = _print_pages(pages) & _export(stack.environment["POSTGRES_DSN"], Path(folder), size)
        engine.dispose()
    return 0 if met else 1


def _fill(engine: Engine, first: int, last: int) -> None:
    began = time.monotonic()
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL maintenance_work_mem = '256MB'"))
        indexes = connection.execute(_INDEXES).all()
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
        for start in range(first, last + 1, FILL_AT_ONCE):
            end = min(start + FILL_AT_ONCE - 1, last)
            connection.execute(_FILL, {"beginning": _BEGINNING, "first": start, "last": end})
        for _, definition in indexes:
            connection.execute(text(definition))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE memory_replica"))
        connection.execute(text("RESET statement_timeout"))
        size = connection.execute(text("SELECT pg_total_relation_size('memory_replica')")).scalar_one()
    sys.stdout.write(
        f"{last:,} memories, {size / last:.0f} bytes each with indexes; filled at"
        f" {(last - first + 1) / (time.monotonic() - began):,.0f}/s\n"
    )
    sys.stdout.flush()


def _p95_ms(engine: Engine, wanted: MemoryFilter, size: int) -> float:
    browser, taken = SqlBrowser(engine), []
    for number in range(REPEATS):
        place = Position(_BEGINNING + size * (0.3 + 0.01 * number), 2**62) if number % 2 else None
        began = time.perf_counter()
        browser.memories(wanted, place, 51)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(taken, n=20)[-1]


def _export(dsn: str, folder: Path, rows: int) -> bool:
    """Seconds of our export and of COPY, one after the other, and what ours added to this process's memory."""
    engine = create_engine(dsn, 2, "bench export", UNHURRIED)
    # A gateway's connection is open already, and COPY's is not counted either.
    engine.connect().close()
    exporting = Exporting(SqlExportStream(engine, 1, 1000), SystemClock(), rows)
    process = psutil.Process()
    before = most = process.memory_info().rss
    with (folder / "ours.ndjson").open("wb") as ours, _timed() as our_seconds:
        for number, piece in enumerate(export_memory(MemoryFilter(), None, exporting)):
            ours.write(piece)
            if number % 100 == 0:
                most = max(most, process.memory_info().rss)
    engine.dispose()
    copy_seconds = _copy(dsn, folder / "copy.ndjson")
    pair, growth = Stretch(rows, (folder / "ours.ndjson").stat().st_size, our_seconds[0], copy_seconds), most - before
    sys.stdout.write(f"export against COPY, goal {COPY_GOAL} and {MEMORY_GOAL_MIB:.0f} MiB\n{HEAD}")
    sys.stdout.write(pair.line(rows, growth))
    sys.stdout.flush()
    return pair.ratio >= COPY_GOAL and growth <= MEMORY_GOAL_MIB * 2**20


def _copy(dsn: str, path: Path) -> float:
    select = as_lines(f"SELECT {COLUMNS} FROM memory_replica m ORDER BY m.wal_timestamp DESC, m.id DESC", "line")
    give_back()
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor, path.open("wb") as copied, _timed() as seconds:
        cursor.copy_expert(f"COPY ({select}) TO STDOUT", copied)
    connection.close()
    return seconds[0]


@contextmanager
def _timed() -> Iterator[list[float]]:
    taken: list[float] = []
    began = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - began)


def _print_pages(pages: dict[int, dict[str, float]]) -> bool:
    """The table of p95 in milliseconds; whether every page of the largest size is as quick as it should be."""
    sizes, met = list(pages), True
    sys.stdout.write(f"{'page, p95 in ms':<46}" + "".join(f"{size:>11,}" for size in sizes) + "\n")
    for name in FILTERS:
        found = [pages[size][name] for size in sizes]
        base = pages.get(10_000, pages[sizes[0]])[name]
        slow = found[-1] > PAGE_GOAL_MS or found[-1] > GROWTH_GOAL * max(base, 1.0)
        met &= not slow
        sys.stdout.write(f"{name:<46}" + "".join(f"{ms:11.2f}" for ms in found) + ("  missed" if slow else "") + "\n")
    sys.stdout.flush()
    return met


if __name__ == "__main__":
    sys.exit(main(tuple(map(int, sys.argv[1:])) or SIZES))

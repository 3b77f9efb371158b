"""`make bench-search`: what a page of a search through conversations costs, up to a million events.

A page is asked for as the gateway asks, at the beginning and in the middle, by turns. Half of the events are messages
and answers, the others starts and thoughts. The indexes are built after each filling up. `python -m bench.search 1000
10000` measures these sizes only.
"""

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from app.adapters.sql.utterances import SqlUtterances
from app.domain.utterances import UtteranceFilter, UtterancePlace
from devstack.stack import Stack

SIZES, REPEATS, FILL_AT_ONCE = (10_000, 100_000, 1_000_000), 40, 25_000
PAGE_GOAL_MS = 30.0
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_SESSIONS = text("""
    INSERT INTO sessions (session_id, tenant, subject)
    SELECT 's-' || n, 't-' || CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n % 100 END, 'anonymous'
    FROM generate_series(:first / 20, :last / 20) n ON CONFLICT DO NOTHING""")
# Every number is a turn's half: a message with its start, or an answer with its thought. Thirty words of twenty
# thousand, the first ones far more often than the last; one word in one of a thousand, one in one of ten thousand that
# never stands in the largest tenant's.
_FILL = text("""
    INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, payload, created_at)
    SELECT 's-' || n / 20, 2 * n + extra, 'e-' || n || '-' || extra,
           't-' || CASE WHEN n / 20 % 2 = 0 THEN 0 ELSE 1 + n / 20 % 100 END,
           CASE WHEN extra = 1 THEN CASE WHEN n % 2 = 0 THEN 'assistant.started' ELSE 'assistant.thinking' END
                WHEN n % 2 = 0 THEN 'user' ELSE 'assistant.final' END,
           CASE WHEN n % 2 = 0 AND extra = 0 THEN 'user' ELSE 'assistant' END,
           jsonb_build_object('message', CASE WHEN extra = 1 THEN '' ELSE
               'said ' || said || CASE WHEN n % 1000 = 7 THEN ' thousandth' ELSE '' END
               || CASE WHEN n % 10000 = 29 THEN ' elsewhere' ELSE '' END END),
           CAST(:beginning AS timestamptz) + make_interval(secs => n)
    FROM (SELECT n, (SELECT string_agg('w' || (power(random(), 4) * 20000)::int, ' ')
                     FROM generate_series(1, 30 + n * 0)) AS said
          FROM generate_series(:first, :last) n) made CROSS JOIN generate_series(0, 1) extra""")
_INDEXES = text("""
    SELECT indexname, indexdef FROM pg_indexes
    WHERE indexname IN ('session_events_words', 'session_events_worded', 'session_events_worded_of_tenant')
""")
_TENANTS = {"": None, "half of all": "t-0", "one in a hundred": "t-8"}
_WORDS = {"common": "said", "frequent": "w100", "of a thousand": "thousandth", "rare": "elsewhere", "absent": "none"}
SEARCHES = {
    ", ".join(filter(None, (f"tenant {share}" if share else "", f"q {name}"))): UtteranceFilter((word,), tenant)
    for share, tenant in _TENANTS.items()
    for name, word in _WORDS.items()
}


def main(sizes: tuple[int, ...] = SIZES) -> int:
    """Fill up, measure, fill up further; the exit status is 1 when a goal is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-search-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations"}) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], 3, "bench", UNHURRIED)
        pages: dict[int, dict[str, float]] = {}
        for before, size in zip((0, *sizes), sizes, strict=False):
            _fill(engine, before // 2, size // 2 - 1)
            pages[size] = {name: _p95_ms(engine, wanted, size) for name, wanted in SEARCHES.items()}
            met = _print(pages)
        engine.dispose()
    return 0 if met else 1


def _fill(engine: Engine, first: int, last: int) -> None:
    began = time.monotonic()
    with engine.begin() as connection:
        indexes = connection.execute(_INDEXES).all()
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
    for start in range(first, last + 1, FILL_AT_ONCE):
        numbers = {"first": start, "last": min(start + FILL_AT_ONCE - 1, last)}
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(_SESSIONS, numbers)
            connection.execute(_FILL, {"beginning": _BEGINNING, **numbers})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        for _, definition in indexes:
            connection.execute(text(definition))
        connection.execute(text("VACUUM ANALYZE session_events"))
        connection.execute(text("RESET statement_timeout"))
    rate = 2 * (last - first + 1) / (time.monotonic() - began)
    sys.stdout.write(f"{2 * last + 2:,} events; filled at {rate:,.0f}/s\n")
    sys.stdout.flush()


def _p95_ms(engine: Engine, wanted: UtteranceFilter, size: int) -> float:
    utterances, taken = SqlUtterances(engine), []
    for number in range(REPEATS):
        middle = _BEGINNING + timedelta(seconds=size / 2 * (0.3 + 0.01 * number))
        began = time.perf_counter()
        utterances.search(wanted, UtterancePlace(middle, "", 0) if number % 2 else None, 51)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(taken, n=20)[-1]


def _print(pages: dict[int, dict[str, float]]) -> bool:
    """The table of p95 in milliseconds; whether every page of the largest size is as quick as it should be."""
    sys.stdout.write(f"{'page, p95 in ms':<46}" + "".join(f"{size:>11,}" for size in pages) + "\n")
    met = True
    for name in SEARCHES:
        found = [page[name] for page in pages.values()]
        met &= found[-1] <= PAGE_GOAL_MS
        missed = "" if found[-1] <= PAGE_GOAL_MS else "  missed"
        sys.stdout.write(f"{name:<46}" + "".join(f"{ms:11.2f}" for ms in found) + f"{missed}\n")
    sys.stdout.flush()
    return met


if __name__ == "__main__":
    sys.exit(main(tuple(map(int, sys.argv[1:])) or SIZES))

"""`make bench-claims`: what a claim costs on a table with a million finished rows, against one with a thousand.

Each figure is the median of many claims that are rolled back, so that every one of them meets the same rows.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.engine import create_engine
from app.adapters.sql.leases import Leases, end_leases_of_the_dead
from app.adapters.sql.patience import UNHURRIED
from app.adapters.sql.work_kinds import KINDS, TURNS, WorkKind
from devstack.stack import Stack

FEW, MANY, OWED, REPEATS, GOAL = 1_000, 1_000_000, 200, 200, 1.5

_SESSIONS = """
    INSERT INTO sessions (session_id, tenant, subject) SELECT 's' || n, 't', 'bench' FROM generate_series(0, 999) n
    ON CONFLICT DO NOTHING"""
_FILL = {
    "turn": """
        INSERT INTO turns (event_id, session_id, seq, tenant, state, finished_at, created_at)
        SELECT :mark || n, 's' || (n % 1000), nextval('pg_temp.bench_seq'), 't', :state,
               CASE WHEN :state = 'done' THEN now() END, now() - make_interval(secs => 1000000 - n)
        FROM generate_series(1, :rows) n""",
    "memory": """
        INSERT INTO memory_write_outbox (event_id, tenant, namespace, universe, session_id, role, payload,
                                         idempotency_key, state, finished_at)
        SELECT :mark || n, 't', 'wm', '', 's' || (n % 1000), 'user', '{}', :mark || n, :state,
               CASE WHEN :state = 'synced' THEN now() END
        FROM generate_series(1, :rows) n""",
    "record": """
        INSERT INTO message_outbox (topic, partition_key, payload, dedupe_key, tenant, state, finished_at)
        SELECT 'memory.wal', 'k', '{}', :mark || n, 't', :state, CASE WHEN :state = 'sent' THEN now() END
        FROM generate_series(1, :rows) n""",
    "tool_call": """
        INSERT INTO tool_calls (call_id, session_id, tenant, tool, effect, state, finished_at)
        SELECT :mark || n, 's' || (n % 1000), 't', 'echo', 'read', :state, CASE WHEN :state = 'succeeded' THEN now() END
        FROM generate_series(1, :rows) n""",
}
_STATES = {
    "turn": ("queued", "done"),
    "memory": ("pending", "synced"),
    "record": ("pending", "sent"),
    "tool_call": ("queued", "succeeded"),
}


def main() -> int:
    """Measure, fill up, measure again; the exit status is 1 when a claim became dearer than the goal allows."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-claims-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations"}) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], 5, "bench", UNHURRIED)
        few = _with_finished(engine, "few", FEW)
        many = _with_finished(engine, "many", MANY - FEW)
        engine.dispose()
    worst = max(many[name] / few[name] for name in few)
    for name, seconds in few.items():
        ratio = many[name] / seconds
        sys.stdout.write(f"{name:<24} {seconds * 1000:8.2f} ms  {many[name] * 1000:8.2f} ms  ratio {ratio:.2f}\n")
    sys.stdout.write(f"finished rows            {FEW:8,}     {MANY:8,}     worst {worst:.2f}  goal {GOAL}\n")
    return 0 if worst <= GOAL else 1


def _with_finished(engine: Engine, mark: str, rows: int) -> dict[str, float]:
    with engine.begin() as connection:
        fill(connection, mark, rows, OWED if mark == "few" else 0)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE turns, memory_write_outbox, message_outbox, tool_calls, sessions"))
    figures = {f"claim {kind.name}": _cost(engine, _claiming(kind)) for kind in KINDS}
    figures["due turns"] = _cost(engine, lambda connection: Leases(TURNS, "bench", 30).due(connection, 64))
    figures["leases of the dead"] = _cost(engine, end_leases_of_the_dead)
    return figures


def fill(connection: Connection, mark: str, finished: int, owed: int) -> None:
    """So many finished rows of every kind, and some that are owed."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text(_SESSIONS))
    connection.execute(text("CREATE TEMP SEQUENCE IF NOT EXISTS bench_seq"))
    connection.execute(text("SELECT setval('pg_temp.bench_seq', (SELECT coalesce(max(seq), 0) + 1 FROM turns))"))
    for kind, (owing, ended) in _STATES.items():
        for state, rows in ((ended, finished), (owing, owed)):
            connection.execute(text(_FILL[kind]), {"mark": f"{mark}-{state}-", "state": state, "rows": rows})


def _claiming(kind: WorkKind) -> Callable[[Connection], object]:
    leases = Leases(kind, "bench", 30)
    key = "few-queued-1" if kind.name == "turn" else None
    return lambda connection: leases.claim(connection, 1 if key else 100, [key] if key else None)


def _cost(engine: Engine, work: Callable[[Connection], object]) -> float:
    """The median of many tries, none of which is kept."""
    taken: list[float] = []
    with engine.connect() as connection:
        for _ in range(REPEATS):
            began = time.perf_counter()
            work(connection)
            taken.append(time.perf_counter() - began)
            connection.rollback()
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())

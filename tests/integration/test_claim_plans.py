"""The hot statements never read a whole table: beside many finished rows they use the partial indexes."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from app.adapters.sql.leases import Leases, end_leases_of_the_dead
from app.adapters.sql.work_kinds import KINDS, TURNS
from app.domain.leases import Lease
from bench.claims import fill
from tests.contracts.store_rig import PostgresRig

BIG = re.compile(r"Seq Scan on (turns|tool_calls|memory_write_outbox|message_outbox|session_events)")


@pytest.fixture(scope="module")
def crowded(engine: Engine) -> Iterator[Connection]:
    """One transaction that is never kept, with big tables of which the planner knows the size."""
    PostgresRig(engine).close()
    with engine.connect() as connection:
        fill(connection, "crowd", 20_000, 200)
        connection.execute(text("ANALYZE turns, tool_calls, memory_write_outbox, message_outbox, sessions"))
        yield connection
        connection.rollback()


def plans(connection: Connection, work: Callable[[Connection], object]) -> str:
    """The plans of every statement that `work` runs, as Postgres makes them; the work itself is undone."""
    found: list[str] = []
    asking = False

    def explain(conn: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal asking
        if not asking and not statement.startswith(("SAVEPOINT", "ROLLBACK", "EXPLAIN", "SET")):
            asking = True
            asked = conn.connection.cursor()
            asked.execute(f"EXPLAIN {statement}", parameters)
            found.extend(row[0] for row in asked.fetchall())
            asking = False

    event.listen(connection, "before_cursor_execute", explain)
    try:
        with connection.begin_nested() as savepoint:
            work(connection)
            savepoint.rollback()
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    assert found
    return "\n".join(found)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_claim_reads_only_what_is_owed(crowded: Connection, kind: Any) -> None:
    plan = plans(crowded, lambda connection: Leases(kind, "p", 30).claim(connection, 100))

    assert not BIG.search(plan), plan


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("how", ["settle", "postpone", "release"])
def test_the_end_of_a_claim_reads_only_its_rows(crowded: Connection, kind: Any, how: str) -> None:
    leases = Leases(kind, "p", 30)
    held = [Lease(str(number), "p", 1) for number in range(100)]
    acts: dict[str, Callable[[Connection], object]] = {
        "settle": lambda connection: leases.settle(connection, held, "dead", "no"),
        "postpone": lambda connection: leases.postpone(connection, held, 1, "away", outage=True),
        "release": lambda connection: leases.release(connection, held),
    }

    plan = plans(crowded, acts[how])

    assert not BIG.search(plan), plan
    assert "_leased" not in plan, "all that an owner holds would be looked through for each row"


def test_the_sweep_and_the_heartbeat_read_only_leases_and_what_is_due(crowded: Connection) -> None:
    for work in (
        end_leases_of_the_dead,
        lambda connection: Leases(KINDS[0], "p", 30).renew(connection, ["a", "b"]),
        lambda connection: Leases(TURNS, "bench", 30).due(connection, 64),
    ):
        plan = plans(crowded, work)
        assert not BIG.search(plan), plan


def test_a_plan_that_reads_everything_would_be_found(crowded: Connection) -> None:
    plan = plans(crowded, lambda connection: connection.execute(text("SELECT count(*) FROM turns WHERE tenant <> 'x'")))

    assert BIG.search(plan)


@pytest.mark.parametrize("table", ["turns", "memory_write_outbox", "message_outbox"])
def test_hot_tables_are_vacuumed_early(engine: Engine, table: str) -> None:
    with engine.connect() as connection:
        options = connection.execute(text("SELECT reloptions FROM pg_class WHERE relname = :t"), {"t": table}).scalar()

    assert options
    assert any(option.startswith("autovacuum_vacuum_scale_factor=0.02") for option in options)

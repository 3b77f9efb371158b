"""`make bench-budgets`: reservations a second on one tenant, against a bare UPDATE of a single row in the same run.

Both are one transaction with one COMMIT on a row that everybody wants. Settling is measured too, for every call of a
model is both; how long one reservation takes where nobody else asks is what it adds to a turn.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine, transaction
from app.adapters.sql.patience import UNHURRIED
from app.adapters.sql.spending import SqlSpending
from app.domain.budgets import Expense, PaidCall, Payer
from devstack.stack import Stack

THREADS, SECONDS, ALONE = 16, 5.0, 300
_TABLE = "CREATE TABLE bench_row (id int PRIMARY KEY, number bigint NOT NULL) WITH (fillfactor = 50)"
_UPDATE = text("UPDATE bench_row SET number = number + 1 WHERE id = 1")


def main() -> int:
    """Measure all of them after one another, twice, and print the better run of each."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-budgets-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations"}) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], THREADS + 2, "bench", UNHURRIED)
        with engine.begin() as connection:
            connection.execute(text(_TABLE))
            connection.execute(text("INSERT INTO bench_row VALUES (1, 0)"))
        steps = _steps(engine)
        for name, step in steps.items():
            rate = max(_rate(step) for _ in range(2))
            sys.stdout.write(f"{name:<24} {rate:8.0f}/s by {THREADS} at once  {_alone(step):6.2f} ms alone\n")
        engine.dispose()
    return 0


def _steps(engine: Engine) -> dict[str, Callable[[], object]]:
    spending = SqlSpending(engine, 2**50)
    payer, numbers = Payer("t", "p", "anonymous"), count()

    def update() -> None:
        with transaction(engine) as connection:
            connection.execute(_UPDATE)

    def reserve() -> PaidCall:
        call = PaidCall(f"e{next(numbers)}", 1, "answer:1", "bench", payer)
        spending.reserve(call, 1_000)
        return call

    def reserve_and_settle() -> None:
        spending.settle(reserve(), Expense("m", 400, 100, 0.001))

    return {"a bare UPDATE": update, "reserve": reserve, "reserve and settle": reserve_and_settle}


def _rate(step: Callable[[], object]) -> float:
    until = time.monotonic() + SECONDS

    def work(_number: int) -> int:
        done = 0
        while time.monotonic() < until:
            step()
            done += 1
        return done

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(work, range(THREADS))) / SECONDS


def _alone(step: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(ALONE):
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    sys.exit(main())

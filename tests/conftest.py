"""What many tests share: the real servers, started once, and a database with the schema in it."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine

from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import Patience
from app.settings import Settings, read
from devstack.stack import Stack
from tests.own_database import keep_pristine
from tests.shifts import Shifts, in_order

ROOT = Path(__file__).parents[1]
PATIENT = Patience(greeting_seconds=30, silence_seconds=60)
"""Of tests that are not about patience: a machine that stands still for some seconds breaks none of them."""
Found = TypeVar("Found")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shifts | None:
    return Shifts(config, log) if config.getvalue("dist") == "loadfile" else None


def eventually(condition: Callable[[], Found], seconds: float = 60.0) -> Found:
    """The condition's first true value; an assertion fails when it does not come in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} s"
        threading.Event().wait(0.02)
    return found


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, Redis and Kafka as `make run` starts them, on free ports, with the schema applied."""
    with Stack(tmp_path_factory.mktemp("servers"), None, only={"postgres", "redis", "kafka"}) as stack:
        environment = {"PATH": "", **stack.environment}
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, env=environment, check=True)
        keep_pristine(stack.environment["POSTGRES_DSN"])
        yield stack


@pytest.fixture(scope="session")
def settings(servers: Stack) -> Settings:
    """The settings of a process on these servers."""
    return read({**servers.environment, "PROCESS_NAME": "test"})


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
    """A pool on the test database."""
    made = create_engine(settings.postgres_dsn.get_secret_value(), 20, "test", PATIENT)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole system as `make run` starts it, with the built-in model and a policy that knows a no, on free ports."""
    # What the small model is told costs as much of the processor as what it says.
    chosen = {"LLM_MAX_OUTPUT_TOKENS": "128", "LLM_CONTEXT_TOKENS": "1024", "POLICY_DIR": str(ROOT / "tests/policy")}
    with Stack(tmp_path_factory.mktemp("stack"), None, overrides=chosen) as running:
        yield running

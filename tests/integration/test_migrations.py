"""The schema's history: walkable in both directions, and no process runs on a schema that it does not know."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine
from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.errors import Misconfigured
from app.routing import ProcessName
from app.routing import command as command_of
from app.services.know_schema import HEAD_REVISION, check_schema
from app.settings import settings
from devstack.stack import Stack
from tests.conftest import ROOT
from tests.integration.gateway_process import free_port
from tests.own_database import EMPTY, a_database

ALEMBIC = Config(str(ROOT / "alembic.ini"))
HISTORY = [script.revision for script in ScriptDirectory.from_config(ALEMBIC).walk_revisions()][::-1]


@dataclass
class Database:
    """An empty database of its own."""

    engine: Engine
    environment: dict[str, str]

    def alembic(self, name: str, revision: str) -> None:
        """A step of the history as the command takes it, without a process for each of so many."""
        getattr(command, name)(ALEMBIC, revision)

    def tables(self) -> dict[str, list[tuple[str, str, str | None]]]:
        """Every column with its type and default, and every index, of our schemas."""
        columns = """SELECT table_schema || '.' || table_name, column_name, data_type, column_default
                     FROM information_schema.columns WHERE table_schema IN ('public', 'brain')"""
        indexes = """SELECT schemaname || '.' || tablename, indexname, indexdef, NULL FROM pg_indexes
                     WHERE schemaname IN ('public', 'brain')"""
        found: dict[str, list[tuple[str, str, str | None]]] = {}
        with self.engine.begin() as connection:
            for table, *rest in [*connection.execute(text(columns)), *connection.execute(text(indexes))]:
                found.setdefault(table, []).append((rest[0], rest[1], rest[2]))
        return {table: sorted(parts, key=str) for table, parts in found.items()}


@pytest.fixture
def database(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with a_database(servers.environment["POSTGRES_DSN"], EMPTY) as fresh:
        monkeypatch.setenv("POSTGRES_DSN", fresh)
        settings.cache_clear()
        engine = create_engine(fresh, 1)
        yield Database(engine, {**os.environ, **servers.environment, "POSTGRES_DSN": fresh})
        engine.dispose()
        settings.cache_clear()


def test_the_code_knows_the_newest_revision() -> None:
    assert HISTORY[-1] == HEAD_REVISION
    assert sorted(HISTORY) == HISTORY


def test_every_way_to_the_newest_schema_leads_to_the_same(database: Database) -> None:
    database.alembic("upgrade", "head")
    at_once = database.tables()
    for revision in HISTORY[:-1][::-1]:
        database.alembic("downgrade", revision)
        database.alembic("upgrade", "head")
        assert database.tables() == at_once
    database.alembic("downgrade", "base")
    assert set(database.tables()) <= {"public.alembic_version"}

    for revision in HISTORY:
        database.alembic("upgrade", revision)

    assert database.tables() == at_once
    assert SqlUpkeep(database.engine).revision() == HEAD_REVISION


def test_the_command_makes_the_schema_and_changes_nothing_when_it_is_run_again(database: Database) -> None:
    argv = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(argv, cwd=ROOT, env=database.environment, check=True, timeout=60, capture_output=True)
    before = database.tables()
    assert SqlUpkeep(database.engine).revision() == HEAD_REVISION

    subprocess.run(argv, cwd=ROOT, env=database.environment, check=True, timeout=60, capture_output=True)

    assert database.tables() == before


@pytest.mark.parametrize("found", [None, "0000", "9999", "abcdef"])
def test_a_schema_of_another_version_is_refused(found: str | None) -> None:
    with pytest.raises(Misconfigured) as refused:
        check_schema(found)

    assert ("alembic upgrade head" in str(refused.value)) == (found in (None, "0000"))
    assert HEAD_REVISION in str(refused.value)


def test_the_schema_of_this_version_is_taken() -> None:
    check_schema(HEAD_REVISION)


def ends_saying(process: ProcessName, database: Database) -> str:
    """What the process says on its way out; it must not stay."""
    environment = {**database.environment, "GATEWAY_PORT": str(free_port()), "PROCESS_NAME": str(process)}
    argv = [sys.executable, "-m", *command_of(process)]
    ended = subprocess.run(argv, cwd=ROOT, env=environment, timeout=60, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    return ended.stderr + ended.stdout


@pytest.mark.parametrize("process", [ProcessName.GATEWAY, ProcessName.WORKER_CONVERSATION])
def test_a_process_refuses_an_empty_database_and_says_what_to_do(process: ProcessName, database: Database) -> None:
    assert "alembic upgrade head" in ends_saying(process, database)


@pytest.mark.parametrize("process", [ProcessName.GATEWAY, ProcessName.WORKER_DELIVERY])
def test_a_process_refuses_a_schema_from_the_future(process: ProcessName, database: Database) -> None:
    database.alembic("upgrade", "head")
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    assert "install the newer version" in ends_saying(process, database)

"""A test's own database goes away at its end, whoever is still in it."""

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import extensions

from devstack import postgres
from devstack.place import read_secrets
from devstack.stack import Stack
from tests.conftest import eventually
from tests.own_database import EMPTY, a_database

CLEANED_SLOWLY = """
    CREATE TABLE slow WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)
        AS SELECT number, repeat('x', 500) AS text FROM generate_series(1, 50000) AS number;
    DELETE FROM slow WHERE number % 2 = 0
"""
CLEANERS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = %s"


def connect(dsn: str) -> extensions.connection:
    made = psycopg2.connect(dsn)
    made.autocommit = True
    return made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Stack]:
    """A Postgres of its own, as its autovacuum is to look around every second."""
    with Stack(tmp_path, None, only={"postgres"}) as stack:
        yield stack


@pytest.fixture
def administrator(alone: Stack) -> Iterator[extensions.connection]:
    """Who may see Postgres's own processes."""
    secret = read_secrets(alone.data_dir)["postgres_admin"]
    made = connect(postgres.dsn(alone.ports["postgres"], secret, "postgres", "postgres"))
    with made.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        cursor.execute("SELECT pg_reload_conf()")
    yield made
    made.close()


def test_it_goes_away_while_postgres_cleans_it_and_others_use_it(
    alone: Stack, administrator: extensions.connection
) -> None:
    def found(query: str) -> bool:
        with administrator.cursor() as cursor:
            cursor.execute(query, (name,))
            return cursor.fetchone() is not None

    with a_database(alone.environment["POSTGRES_DSN"], EMPTY) as own:
        user = connect(own)
        name = user.info.dbname
        with user.cursor() as cursor:
            cursor.execute(CLEANED_SLOWLY)
        eventually(lambda: found(CLEANERS))
    user.close()
    assert not found("SELECT FROM pg_database WHERE datname = %s")

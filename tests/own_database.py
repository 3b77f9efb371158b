"""A database of its own, for tests that change a table under everybody: with the schema in it, or empty."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from devstack.stack import Stack

EMPTY, PRISTINE = "template1", "pristine"
"""What a new database is copied from; `pristine` has the schema, which costs far less to copy than to migrate."""


def run_outside(dsn: str, *statements: str) -> None:
    """Statements that no transaction may hold, one after the other, and that take as long as they take."""
    engine = create_engine(dsn, 1, patience=UNHURRIED).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("SET statement_timeout = 0", *statements):
            connection.execute(text(statement))
    engine.dispose()


def keep_pristine(dsn: str) -> None:
    """Keep a copy of this database, which has the schema and whom nobody uses yet."""
    run_outside(dsn, f"CREATE DATABASE {PRISTINE} TEMPLATE {make_url(dsn).database}")


@contextmanager
def a_database(dsn: str, template: str) -> Iterator[str]:
    """The DSN of a copy of the template on the same server; it is gone afterwards."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    run_outside(dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(dsn).set(database=name).render_as_string(hide_password=False)
    finally:
        _drop(dsn, name)


def _drop(dsn: str, name: str) -> None:
    """Without `WITH (FORCE)`: it may not end Postgres's own autovacuum for us, which a plain `DROP` sends away."""
    run_outside(
        dsn,
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = '{name}' AND usename = current_user""",
        f"DROP DATABASE {name}",
    )


@contextmanager
def own_database(servers: Stack) -> Iterator[dict[str, str]]:
    """The servers' environment, with the DSN of a new database with the schema in it."""
    with a_database(servers.environment["POSTGRES_DSN"], PRISTINE) as fresh:
        yield {**servers.environment, "POSTGRES_DSN": fresh}

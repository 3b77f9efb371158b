"""A database of its own with the schema in it, for tests that change a table under everybody."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.adapters.sql.engine import create_engine
from devstack.stack import Stack
from tests.conftest import ROOT


@contextmanager
def own_database(servers: Stack) -> Iterator[dict[str, str]]:
    """The servers' environment, with the DSN of the new database in it."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    dsn = servers.environment["POSTGRES_DSN"]
    owner = create_engine(dsn, 1).execution_options(isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    fresh = make_url(dsn).set(database=name).render_as_string(hide_password=False)
    environment = {**servers.environment, "POSTGRES_DSN": fresh}
    alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(alembic, cwd=ROOT, env={**os.environ, **environment}, check=True)
    yield environment
    with owner.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    owner.dispose()

"""Connections to Postgres: every wait bounded, every driver error translated at this border."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg2.errors
from sqlalchemy import Connection, Engine, Executable, RowMapping
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.adapters.sql.lending import check_before_lending
from app.adapters.sql.patience import WORKING, Patience, connections, within
from app.domain.errors import CommitUnheard, Misconfigured, Rejected, StoreUnavailable

Found = TypeVar("Found")

_SESSION_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        # What a process holds that is stopped between two statements is free before others take over its work: a slot
        # of the log is given away after 6 s.
        "idle_in_transaction_session_timeout": "5s",
        # So that a client who is cut off does not hold its locks for hours.
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        # What a burst needed is there for the next one; who has had nothing to do for so long gives it back.
        "idle_session_timeout": "60s",
        "timezone": "UTC",
        "jit": "off",
    }.items()
)


def create_engine(
    dsn: str, pool_size: int = 10, application_name: str = "soma", patience: Patience = WORKING
) -> Engine:
    """A lazy pool of at most `pool_size` connections; waiting for one, for a dead host and for a silent server ends
    as `patience` says. The one used last is lent first, so that the server ends those that nobody needs any more.
    """
    try:
        url = make_url(dsn).set(drivername="postgresql+psycopg2")
    except ArgumentError:
        raise Misconfigured(
            "POSTGRES_DSN is not an address; example: postgresql://soma:secret@127.0.0.1:5432/soma"
        ) from None
    engine = sqlalchemy_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=min(2.0, patience.greeting_seconds),
        pool_recycle=1800,
        execution_options={"patience": patience},
        connect_args={
            "connection_factory": connections(patience),
            "connect_timeout": 3,
            "application_name": application_name,
            "options": _SESSION_OPTIONS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,
        },
    )
    check_before_lending(engine)
    return engine


@contextmanager
def translating() -> Iterator[None]:
    """Driver errors become `StoreUnavailable` (away, slow, broken off) or `Rejected` (the data does not fit)."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
        raise StoreUnavailable(f"Postgres is not answering: {type(error).__name__}") from error
    except DataError as error:
        raise Rejected("the text holds characters that cannot be stored") from error
    except DBAPIError as error:
        if not error.connection_invalidated and not isinstance(error.orig, psycopg2.errors.QueryCanceled):
            raise
        raise StoreUnavailable("Postgres broke the connection") from error


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises; `CommitUnheard` when the line broke
    between the COMMIT and its answer. Everything else that breaks off means for certain that nothing was kept.
    """
    patience: Patience = engine.get_execution_options().get("patience", WORKING)
    with translating(), within(patience), engine.connect() as connection, connection.begin() as under_way:
        yield connection
        with _hearing():
            under_way.commit()


def all_rows(engine: Engine, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[RowMapping]:
    """What one statement gives, in a transaction of its own."""
    with transaction(engine) as connection:
        return connection.execute(statement, dict(parameters)).mappings().all()


@contextmanager
def _hearing() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise CommitUnheard("Postgres broke the connection at the end of a transaction") from error


def resolved(step: Callable[[bool], Found]) -> Found:
    """Run a transaction; when the answer to its COMMIT was lost, run it once more with True, to find out."""
    try:
        return step(False)
    except CommitUnheard:
        return step(True)

"""Connections to Postgres: every wait bounded, every driver error translated at this border."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.errors
from sqlalchemy import Connection, Engine
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import Misconfigured, Rejected, StoreUnavailable

_SESSION_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "15s",
        "timezone": "UTC",
        "jit": "off",
    }.items()
)

_KEPT_CONNECTIONS = 2
"""How many connections an idle process keeps; what a burst needed beyond that is closed after it."""


def create_engine(dsn: str, pool_size: int = 10, application_name: str = "soma") -> Engine:
    """A lazy pool of at most `pool_size` connections; waiting for one, or for a dead host, ends within 2-3 s."""
    try:
        url = make_url(dsn).set(drivername="postgresql+psycopg2")
    except ArgumentError:
        raise Misconfigured(
            "POSTGRES_DSN is not an address; example: postgresql://soma:secret@127.0.0.1:5432/soma"
        ) from None
    return sqlalchemy_engine(
        url,
        pool_size=min(pool_size, _KEPT_CONNECTIONS),
        max_overflow=max(pool_size - _KEPT_CONNECTIONS, 0),
        pool_timeout=2,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 3,
            "application_name": application_name,
            "options": _SESSION_OPTIONS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,
        },
    )


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
    """One transaction: committed when the block ends, rolled back when it raises."""
    with translating(), engine.begin() as connection:
        yield connection

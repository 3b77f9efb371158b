"""Transactions of the memory service: like everybody's, and a store that was never set up counts as away."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.errors
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import ProgrammingError

from app.adapters.sql import engine as sql
from app.domain.errors import StoreUnavailable

_NOT_SET_UP = (
    psycopg2.errors.UndefinedTable,
    psycopg2.errors.UndefinedColumn,
    psycopg2.errors.UndefinedFunction,
    psycopg2.errors.UndefinedObject,
    psycopg2.errors.InvalidSchemaName,
    psycopg2.errors.InsufficientPrivilege,
)

_log = logging.getLogger(__name__)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed when the block ends; `StoreUnavailable` also where the tables are missing."""
    with set_up(), sql.transaction(engine) as connection:
        yield connection


@contextmanager
def set_up() -> Iterator[None]:
    """`StoreUnavailable` where the tables are missing."""
    try:
        yield
    except ProgrammingError as error:
        if not isinstance(error.orig, _NOT_SET_UP):
            raise
        _log.error("the brain's tables are missing or not ours; run `python -m alembic upgrade head`")
        raise StoreUnavailable("the memory store is not set up; run `python -m alembic upgrade head`") from error

"""Nobody is lent a connection whose server has gone.

One that lay for a while is asked, which costs a round trip. One that was in use a moment ago is only looked at: a
server that has ended says so on the line, and a look costs no more than a system call.
"""

import select
import time
from typing import Any

import psycopg2
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError

_USED_AT = "used at"
_FRESH_SECONDS = 1.0


def check_before_lending(engine: Engine) -> None:
    """From now on the pool of this engine replaces what is dead before it lends it."""

    @event.listens_for(engine, "checkin")
    def note_use(_line: Any, record: Any) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(line: Any, record: Any, _borrowed: Any) -> None:
        used_at = record.info.get(_USED_AT)
        if used_at is None:  # Made for this very borrower.
            return
        if _has_spoken(line):
            raise DisconnectionError("Postgres has ended this connection")
        if time.monotonic() - used_at > _FRESH_SECONDS and not _answers(engine, line):
            raise InvalidatePoolError("Postgres does not answer on this connection")


def _has_spoken(line: Any) -> bool:
    """Whether something came that nobody asked for: the server's last words, or the end of the line."""
    if line.closed:
        return True
    looking = select.poll()
    looking.register(line.fileno(), select.POLLIN)
    return bool(looking.poll(0))


def _answers(engine: Engine, line: Any) -> bool:
    try:
        return engine.dialect.do_ping(line)
    except psycopg2.Error:
        return False

"""How long a request waits for Postgres, all its round trips together, even for a backend that stopped in its tracks.

No setting of the server frees a client whose backend is frozen. psycopg2 lets a process replace its waiting; ours
looks at the clock. It is installed once, in the served process, and rules every connection of that process.
"""

import select
import threading
import time

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, set_wait_callback

_DEFAULT_SECONDS = 5.0
_EVENTS = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}

_thread = threading.local()


def install() -> None:
    """Let every wait of this process for Postgres end in time."""
    set_wait_callback(_wait)


def begin(first_answer_seconds: float, seconds: float) -> None:
    """From now on this thread waits at most so long for Postgres in sum, and less for the first sign of life.

    The pool greets a connection before it lends it, so that a Postgres that is away is noticed early, and one that is
    only busy may take its time.
    """
    now = time.monotonic()
    _thread.first_ends_at, _thread.ends_at = now + first_answer_seconds, now + seconds


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Raising makes psycopg2 close the connection, so nobody meets the late answer."""
    ends_at: float = getattr(_thread, "first_ends_at", 0.0) or time.monotonic() + _DEFAULT_SECONDS
    while (state := connection.poll()) != POLL_OK:
        left = ends_at - time.monotonic()
        if left <= 0:
            raise psycopg2.OperationalError("Postgres did not answer in time")
        waiting = select.poll()
        waiting.register(connection.fileno(), _EVENTS[state])
        waiting.poll(left * 1000)
    _thread.first_ends_at = getattr(_thread, "ends_at", 0.0)

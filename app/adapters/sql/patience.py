"""How long we wait for Postgres, even for a backend that stopped in its tracks or a line that went dead.

No setting of the server frees a client whose backend is frozen, and neither do keepalives. psycopg2 lets a process
replace its waiting; ours looks at the clock. One rule for all our connections, whatever process they belong to.

COPY does not work in a process whose waiting was replaced. A job that needs it calls `give_back` in a process of its
own, where the server's timeouts have to do.
"""

import math
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, STATUS_SETUP, connection, set_wait_callback

_EVENTS = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}
# With a wait callback psycopg2 forgets `connect_timeout`.
_CONNECT_SECONDS = 10.0

_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Patience:
    """`greeting_seconds` for the first sign of life of a connection, lent or new; `seconds` for everything together;
    `silence_seconds` for each round trip, above the server's statement_timeout, so that its own verdict comes first.
    """

    greeting_seconds: float = 3.0
    seconds: float = math.inf
    silence_seconds: float = 6.0


WORKING = Patience()
"""Of a worker, for one transaction."""
SERVING = Patience(greeting_seconds=1.2, seconds=4.5)
"""Of a process in front of people: one that is away is told of within two seconds, one that is busy may take longer."""
UNHURRIED = Patience(silence_seconds=math.inf)
"""Of a migration, whose statements take as long as they take."""


class PatientConnection(connection):
    """A connection whose round trips end in time."""

    def __init__(self, *arguments: object, silence_seconds: float) -> None:
        # Before it is connected: connecting waits, too.
        self.silence_seconds = silence_seconds
        super().__init__(*arguments)  # type: ignore[arg-type]


def connections(patience: Patience) -> Callable[..., PatientConnection]:
    """A `connection_factory` for psycopg2; from the first one on, this process waits as this module says."""
    set_wait_callback(_wait)
    return lambda *arguments: PatientConnection(*arguments, silence_seconds=patience.silence_seconds)


def give_back() -> None:
    """Let this process wait as libpq does, so that it can COPY; until the next engine is made."""
    set_wait_callback(None)


class _Window:
    """When this thread's waits have to end; one that lies within another never ends later than that."""

    def __init__(self, patience: Patience, outer: "_Window | None") -> None:
        now = time.monotonic()
        self._greeted_by: float = now + patience.greeting_seconds
        self._ends_at: float = now + patience.seconds
        self._outer = outer
        self._greeted = False

    @property
    def ends_at(self) -> float:
        own = self._ends_at if self._greeted else min(self._greeted_by, self._ends_at)
        return own if self._outer is None else min(own, self._outer.ends_at)

    def greet(self) -> None:
        """There was a sign of life."""
        self._greeted = True
        if self._outer is not None:
            self._outer.greet()


@contextmanager
def within(patience: Patience) -> Iterator[None]:
    """Inside the block this thread waits at most so long."""
    outer: _Window | None = getattr(_thread, "window", None)
    _thread.window = _Window(patience, outer)
    try:
        yield
    finally:
        _thread.window = outer


def begin(patience: Patience) -> None:
    """From now on, until `end`, this thread waits at most so long, all its transactions together."""
    _thread.window = _Window(patience, None)


def end() -> None:
    """Forget what `begin` began."""
    _thread.window = None


def _wait(waiting: connection) -> None:
    """Raising makes psycopg2 close the connection, so nobody meets the late answer."""
    window: _Window | None = getattr(_thread, "window", None)
    until = _until(waiting, window)
    while (state := waiting.poll()) != POLL_OK:
        left = until - time.monotonic()
        if left <= 0:
            raise psycopg2.OperationalError("Postgres did not answer in time")
        poller = select.poll()
        poller.register(waiting.fileno(), _EVENTS[state])
        poller.poll(None if left == math.inf else left * 1000)
    if window is not None:
        window.greet()


def _until(waiting: connection, window: _Window | None) -> float:
    silence, ends_at = math.inf, math.inf
    if isinstance(waiting, PatientConnection):
        silence, ends_at = waiting.silence_seconds, math.inf if window is None else window.ends_at
    if waiting.status == STATUS_SETUP:
        silence = min(silence, _CONNECT_SECONDS)
    return min(time.monotonic() + silence, ends_at)

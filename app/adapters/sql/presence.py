"""This process is alive: an advisory lock that nobody else can hold, and leases renewed while work goes on.

The sweep asks for the locks of owners that hold leases; a lock it can have belongs to a process that is gone
(`leases.end_leases_of_the_dead`). A frozen process keeps its lock and loses when its leases run out. A process that
lost a claim and lives (it was frozen, its line broke, Postgres went away) says so: that claim is no death.
"""

import logging
import os
import secrets
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.engine import translating
from app.adapters.sql.leases import Leases
from app.adapters.sql.work_kinds import TURNS, WorkKind
from app.domain.errors import StoreUnavailable
from app.domain.leases import Lease

_BEAT_SECONDS = 1.0
_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:owner, 0))")
_SEEN = text("""
    INSERT INTO processes (owner, name) VALUES (:owner, :name)
    ON CONFLICT (owner) DO UPDATE SET seen_at = now()
""")
_log = logging.getLogger(__name__)


class Holder(Protocol):
    """Whoever holds leases, as the tables of owed work see it."""

    owner: str

    def working_on(self, key: str, kind: WorkKind = TURNS, /) -> AbstractContextManager[None]:
        """While the block runs, the lease of this turn, or of this row of another kind, is renewed."""

    def survived(self, kind: WorkKind, leases: Iterable[Lease], /) -> None:
        """These claims are lost or could not be ended, and their owner lives."""

    def is_known(self) -> bool:
        """Whether everybody can see that the owner lives; a claim before that would look like one of the dead."""


class Presence:
    """One per process. `owner` names it in every lease; `start` begins the heartbeat in a daemon thread."""

    def __init__(self, engine: Engine, name: str, lease_seconds: float) -> None:
        self.owner = f"{name}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._engine = engine
        self._name = name
        self._seconds = lease_seconds
        self._kept = {TURNS: Leases(TURNS, self.owner, lease_seconds)}
        self._survived: defaultdict[WorkKind, set[Lease]] = defaultdict(set)
        self._working: Counter[tuple[WorkKind, str]] = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._known = threading.Event()
        self._thread = threading.Thread(target=self._live, name="presence", daemon=True)

    def start(self) -> None:
        """Begin the heartbeat; it goes on through every outage of Postgres."""
        self._thread.start()

    def stop(self) -> None:
        """End the heartbeat and give the lock back, so that what is still leased is free at once."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def is_known(self) -> bool:
        """Whether our lock is held, as far as we know: a claim before that would look like one of the dead."""
        return self._known.is_set()

    @contextmanager
    def working_on(self, key: str, kind: WorkKind = TURNS) -> Iterator[None]:
        """While the block runs, the lease of this turn, or of this row of another kind, is renewed."""
        with self._lock:
            self._kept.setdefault(kind, Leases(kind, self.owner, self._seconds))
            self._working[kind, key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._working[kind, key] -= 1
                self._working += Counter()

    def survived(self, kind: WorkKind, leases: Iterable[Lease]) -> None:
        """These claims are lost or could not be ended, and we live; said to Postgres as soon as it listens."""
        with self._lock:
            self._survived[kind].update(leases)

    def _held(self) -> list[tuple[Leases, list[str]]]:
        """The keys in hand, by kind; a kind that was ever worked on stays, so that what it left behind is ended."""
        with self._lock:
            return [(leases, [key for its, key in self._working if its is kind]) for kind, leases in self._kept.items()]

    def _live(self) -> None:
        while not self._stopped.is_set():
            try:
                self._hold_lock_and_beat()
            except StoreUnavailable as error:
                _log.warning("presence lost, trying again: %s", error)
                self._stopped.wait(_BEAT_SECONDS / 2)

    def _hold_lock_and_beat(self) -> None:
        with translating(), self._engine.connect() as raw:
            connection = raw.execution_options(isolation_level="AUTOCOMMIT")
            try:
                self._beat_until_stopped(connection)
            finally:
                self._known.clear()
                raw.invalidate()

    def _beat_until_stopped(self, connection: Connection) -> None:
        locked = False
        while not self._stopped.is_set():
            # While a line that went dead still holds our lock at the server, that one speaks for us: beating matters.
            locked = locked or bool(connection.execute(_LOCK, {"owner": self.owner}).scalar_one())
            self._known.set()
            connection.execute(_SEEN, {"owner": self.owner, "name": self._name})
            for leases, keys in self._held():
                leases.renew(connection, keys)
            self._excuse_what_survived(connection)
            self._stopped.wait(_BEAT_SECONDS)

    def _excuse_what_survived(self, connection: Connection) -> None:
        for kind, leases in list(self._survived.items()):
            told = set(leases)
            if told:
                Leases(kind, self.owner, self._seconds).excuse(connection, list(told))
            with self._lock:
                leases.difference_update(told)

"""Connections that are kept for the next call, whoever makes it: at most so many, the one used last first."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

MOST_KEPT = 8


class KeptSessions:
    """Lends sessions to threads, each to one at a time; a crowd gets one each, and leaves `MOST_KEPT` behind."""

    def __init__(self, make: Callable[[], requests.Session]) -> None:
        self._make = make
        self._kept: list[requests.Session] = []
        self._owner = os.getpid()

    @contextmanager
    def lent(self) -> Iterator[requests.Session]:
        """A session for the calls of this block."""
        session = self._take()
        try:
            yield session
        finally:
            self._give_back(session)

    def _take(self) -> requests.Session:
        if self._owner != os.getpid():
            # What a fork brought along belongs to the process that it came from.
            self._kept, self._owner = [], os.getpid()
        try:
            return self._kept.pop()
        except IndexError:
            return self._make()

    def _give_back(self, session: requests.Session) -> None:
        if len(self._kept) < MOST_KEPT:
            self._kept.append(session)
        else:
            session.close()

"""Who of those that work in this process was asked to stop: one look for all of them, twice a second while there is
somebody, so that a wish is heard also where a peer is silent.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from app.domain.conversation_control import Why
from app.domain.errors import StoreUnavailable

_EVERY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Wish:
    """`Stop` for one key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acts: list[Callable[[], None]] = []
        self._why: Why | None = None

    def why(self) -> Why | None:
        """What was asked for."""
        return self._why

    def then(self, act: Callable[[], None]) -> None:
        """Do this once it is made, from another thread, or at once."""
        with self._lock:
            if self._why is None:
                self._acts.append(act)
                return
        act()

    def make(self, why: Why) -> None:
        """It is asked for now."""
        with self._lock:
            self._why, acts, self._acts = self._why or why, self._acts, []
        for act in acts:
            act()


class StopWatch:
    """`Stops`; `asked(keys)` tells which of these are to stop, and why."""

    def __init__(self, asked: Callable[[Collection[str]], Mapping[str, Why]], every_seconds: float = _EVERY_SECONDS):
        self._asked = asked
        self._every = every_seconds
        self._wishes: dict[str, Wish] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def heard(self, key: str) -> Iterator[Wish]:
        """While the block runs, a wish that this one stops is heard."""
        wish = Wish()
        with self._changed:
            self._wishes[key] = wish
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_for_ever, name="stop watch", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield wish
        finally:
            with self._changed:
                if self._wishes.get(key) is wish:
                    del self._wishes[key]

    def _look_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._wishes))
                watched = dict(self._wishes)
            try:
                for key, why in self._asked(watched).items():
                    watched[key].make(why)
            except StoreUnavailable as error:
                _log.warning("wishes to stop cannot be read: %s", error)
            threading.Event().wait(self._every)

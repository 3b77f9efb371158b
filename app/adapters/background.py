"""One bounded background thread for things that may be lost: rings and live items. Callers never wait."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")
_log = logging.getLogger(__name__)


class Background(Generic[Item]):
    """Sends items one after another; while the peer is down, or the queue is full, items are dropped.

    An item that waits under the same key is replaced, so a crowd of equal hints is sent once.
    `send` must raise one of `errors` when the peer is away; then nothing is tried for `latch_seconds`.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Item], None],
        errors: tuple[type[Exception], ...],
        capacity: int = 10_000,
        latch_seconds: float = 1.0,
    ) -> None:
        self._send = send
        self._errors = errors
        self._capacity = capacity
        self._latch_seconds = latch_seconds
        self._down_until = 0.0
        self._waiting: OrderedDict[Hashable, Item] = OrderedDict()
        self._changed = threading.Condition()
        self._started = False
        self._name = name

    def put(self, key: Hashable, item: Item) -> None:
        """Send this soon, if it can be sent at all; returns at once."""
        with self._changed:
            self._start()
            if len(self._waiting) < self._capacity or key in self._waiting:
                self._waiting[key] = item
                self._changed.notify()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            item = self._take()
            if time.monotonic() >= self._down_until:
                self._try(item)

    def _take(self) -> Item:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._waiting.popitem(last=False)[1]

    def _try(self, item: Item) -> None:
        try:
            self._send(item)
        except self._errors as error:
            self._down_until = time.monotonic() + self._latch_seconds
            _log.warning("%s: the peer is away (%s); items are dropped meanwhile", self._name, type(error).__name__)

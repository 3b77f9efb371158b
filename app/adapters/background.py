"""One bounded background thread for things that may be lost: rings and live items. Callers never wait."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
_TOGETHER = 100
_log = logging.getLogger(__name__)


class Background(Generic[Item]):
    """Sends items in their order, together what waits together; while the peer is down, or the queue is full, items are
    dropped.

    An item that waits under the same key is replaced, so a crowd of equal hints is sent once.
    `send` must raise one of `errors` when the peer is away; then nothing is tried for `latch_seconds`.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Item]], None],
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
        self._resting: dict[Hashable, tuple[float, Item]] = {}
        self._rest_until: dict[Hashable, float] = {}
        self._changed = threading.Condition()
        self._started = False
        self._name = name

    def put(self, key: Hashable, item: Item, rest_seconds: float = 0.0) -> None:
        """Send this soon, if it can be sent at all, but not within `rest_seconds` of the last under its key; returns at
        once.
        """
        with self._changed:
            self._start()
            if rest_seconds and not self._rested(key, item, rest_seconds):
                return
            if len(self._waiting) < self._capacity or key in self._waiting:
                self._waiting[key] = item
                self._changed.notify()

    def _rested(self, key: Hashable, item: Item, seconds: float) -> bool:
        now = time.monotonic()
        if (until := self._rest_until.get(key, 0.0)) > now:
            self._resting[key] = (until, item)
            self._changed.notify()
            return False
        self._rest_until[key] = now + seconds
        return True

    def _start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            items = self._take()
            if time.monotonic() >= self._down_until:
                self._try(items)

    def _take(self) -> Sequence[Item]:
        with self._changed:
            while not self._ready():
                self._changed.wait(self._until_rested())
            number = min(len(self._waiting), _TOGETHER)
            return [self._waiting.popitem(last=False)[1] for _ in range(number)]

    def _ready(self) -> bool:
        now = time.monotonic()
        for key in [key for key, (until, _) in self._resting.items() if until <= now]:
            self._waiting[key] = self._resting.pop(key)[1]
        return bool(self._waiting)

    def _until_rested(self) -> float | None:
        if not self._resting:
            return None
        return max(0.0, min(until for until, _ in self._resting.values()) - time.monotonic())

    def _try(self, items: Sequence[Item]) -> None:
        try:
            self._send(items)
        except self._errors as error:
            self._down_until = time.monotonic() + self._latch_seconds
            _log.warning("%s: the peer is away (%s); items are dropped meanwhile", self._name, type(error).__name__)

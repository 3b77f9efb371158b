"""Who reads, counted in this process."""

import threading
from collections import Counter
from collections.abc import Sequence

from app.domain.audience import Crowd, Leave


class LocalAudience:
    """`Audience` in memory."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, crowds: Sequence[Crowd]) -> Leave:
        """A place in each."""
        with self._lock:
            for crowd in crowds:
                if self._counts[crowd.key] >= crowd.limit:
                    raise crowd.is_full()
            self._counts.update(crowd.key for crowd in crowds)
        held = [[crowd.key for crowd in crowds]]
        return lambda: self._leave(held)

    def _leave(self, held: list[list[str]]) -> None:
        with self._lock:
            for key in held.pop() if held else ():
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

"""Token buckets in this process: what counts while Redis is away, each process at the same limit for itself."""

import threading

from app.domain.ports import Clock
from app.domain.rate_limit import Rate, Verdict, take

_MOST_BUCKETS = 10_000


class LocalRateLimiter:
    """`RateLimiter` in memory; a full bucket is forgotten, which is the same as none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, key: str, rate: Rate) -> Verdict:
        """One token."""
        with self._lock:
            now = self._clock.monotonic()
            verdict = take(self._full_at.get(key, now) - now, rate)
            self._full_at[key] = now + verdict.owed
            if len(self._full_at) > _MOST_BUCKETS:
                self._forget_full_ones(now)
            return verdict

    def _forget_full_ones(self, now: float) -> None:
        self._full_at = {key: moment for key, moment in self._full_at.items() if moment > now}

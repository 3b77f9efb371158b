"""Time for Celery: a wall clock that is set while we run must neither deafen a worker nor silence beat.

Celery tells by the wall clock when a ring expires and when beat rings next. One that jumps an hour ahead would have a
worker take every ring for expired, one that jumps back would have beat wait for an hour.
"""

import time
from datetime import UTC, datetime, timedelta

from celery import Celery
from celery.schedules import schedule


class SteadyClock:
    """The wall clock as it was in the beginning, and what has passed since then by monotonic time."""

    def __init__(self) -> None:
        self._began, self._since = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        """Never jumps; wrong for ever where the wall clock was wrong in the beginning."""
        return self._began + timedelta(seconds=time.monotonic() - self._since)

    def earliest(self) -> datetime:
        """The earlier of this and the wall clock: what has expired by it has expired by both."""
        return min(self.now(), datetime.now(UTC))

    def latest(self) -> datetime:
        """The later of this and the wall clock: what expires after it expires too late rather than at once."""
        return max(self.now(), datetime.now(UTC))


STEADY = SteadyClock()


def every(seconds: float) -> schedule:
    """Beat's schedule for a ring of this interval, whatever becomes of its wall clock."""
    return schedule(seconds, nowfun=STEADY.now)


class SteadyCelery(Celery):  # type: ignore[misc]
    """An application whose rings expire by `latest`."""

    def now(self) -> datetime:
        """From when Celery counts the seconds until a ring expires."""
        return STEADY.latest()

"""Who reads, counted over all processes: each open stream is a member of its crowds' sorted sets, with the time until
which it counts.

Whoever holds a stream says so again every few seconds. So the places of a process that was killed come free by
themselves, and a Redis that forgot everything knows it again soon. While it is away, each process counts for itself.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from secrets import token_hex

from app.adapters.redis.connection import REDIS_ERRORS, connect
from app.domain.audience import Audience, Crowd, Leave
from app.domain.ports import Clock

_PREFIX = "readers:"
_LEASE_SECONDS = 15.0
_LEFT_ALONE_SECONDS = 5.0
"""So long a Redis that did not answer is not asked again, so that no request waits for it twice."""
# Either a place in every crowd, or the number of the first that is full.
_ENTER = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for place, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= tonumber(ARGV[place + 2]) then return place end
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[2], ARGV[1])
    redis.call('EXPIRE', key, math.ceil(ARGV[2]))
end
return 0
"""
# The same reader once more, whether or not it is still known.
_STAY = """
local time = redis.call('TIME')
local moment = time[1] + time[2] / 1000000 + ARGV[2]
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, moment, ARGV[1])
    redis.call('EXPIRE', key, math.ceil(ARGV[2]))
end
"""
_log = logging.getLogger(__name__)


class RedisAudience:
    """`Audience` on Redis; `here` counts the streams of this process, and decides alone while Redis is away."""

    def __init__(self, url: str, here: Audience, clock: Clock, lease_seconds: float = _LEASE_SECONDS) -> None:
        self._redis = connect(url, read_seconds=1.0)
        self._enter = self._redis.register_script(_ENTER)
        self._stay = self._redis.register_script(_STAY)
        self._here = here
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._asked_again_at = clock.monotonic()
        self._names = (f"{token_hex(8)}:{number}" for number in count())
        self._held: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None

    def enter(self, crowds: Sequence[Crowd]) -> Leave:
        """A place in each."""
        leave_here = self._here.enter(crowds)
        keys = [f"{_PREFIX}{crowd.key}" for crowd in crowds]
        with self._lock:
            name = next(self._names)
        full = self._ask(name, keys, [crowd.limit for crowd in crowds])
        if full:
            leave_here()
            raise crowds[full - 1].is_full()
        self._hold(name, keys)
        return lambda: self._leave(name, leave_here)

    def _ask(self, name: str, keys: list[str], limits: list[int]) -> int:
        """The number of the first crowd that is full; 0 when none is, or nobody knows."""
        if self._clock.monotonic() < self._asked_again_at:
            return 0
        try:
            return int(self._enter(keys=keys, args=[name, self._lease_seconds, *limits]))
        except REDIS_ERRORS as error:
            self._leave_alone(error)
            return 0

    def _leave_alone(self, error: Exception) -> None:
        _log.warning("readers are counted in this process: Redis is away (%s)", type(error).__name__)
        self._asked_again_at = self._clock.monotonic() + _LEFT_ALONE_SECONDS

    def _hold(self, name: str, keys: list[str]) -> None:
        with self._lock:
            self._held[name] = keys
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="audience", daemon=True)
                self._keeper.start()

    def _leave(self, name: str, leave_here: Leave) -> None:
        leave_here()
        with self._lock:
            keys = self._held.pop(name, ())
        if keys:
            self._tell(partial(self._forget, name, keys))

    def _keep(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._lease_seconds / 3)
            with self._lock:
                held = list(self._held.items())
            if held:
                self._tell(partial(self._say_again, held))

    def _say_again(self, held: Sequence[tuple[str, list[str]]]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for name, keys in held:
                self._stay(keys=keys, args=[name, self._lease_seconds], client=pipeline)
            pipeline.execute()

    def _forget(self, name: str, keys: Sequence[str]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.zrem(key, name)
            pipeline.execute()

    def _tell(self, say: Callable[[], object]) -> None:
        if self._clock.monotonic() < self._asked_again_at:
            return
        try:
            say()
        except REDIS_ERRORS as error:
            self._leave_alone(error)

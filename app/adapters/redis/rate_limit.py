"""Token buckets in Redis, one for all processes, on Redis's own clock; without Redis each process counts for itself."""

import logging

from app.adapters.redis.connection import REDIS_ERRORS, connect
from app.domain.ports import Clock
from app.domain.rate_limit import Rate, RateLimiter, Verdict

_PREFIX = "rate:"
_LEFT_ALONE_SECONDS = 5.0
"""So long a Redis that did not answer is not asked again, so that no request waits for it twice."""
# The decision of `app.domain.rate_limit.take`, where nobody can come in between. Numbers travel as text: what a script
# returns as a number is cut to an integer.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local owed = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - now, 0)
local after = owed + tonumber(ARGV[1])
if after > tonumber(ARGV[2]) + 0.000001 then
    return {'0', string.format('%.6f', owed)}
end
redis.call('SET', KEYS[1], string.format('%.6f', now + after), 'PX', math.ceil(after * 1000))
return {'1', string.format('%.6f', after)}
"""
_log = logging.getLogger(__name__)


class RedisRateLimiter:
    """`RateLimiter` on Redis; `instead` counts while Redis is away."""

    def __init__(self, url: str, instead: RateLimiter, clock: Clock) -> None:
        self._redis = connect(url, read_seconds=1.0)
        self._script = self._redis.register_script(_TAKE)
        self._instead = instead
        self._clock = clock
        self._asked_again_at = clock.monotonic()

    def take(self, key: str, rate: Rate) -> Verdict:
        """One token."""
        if self._clock.monotonic() < self._asked_again_at:
            return self._instead.take(key, rate)
        try:
            allowed, owed = self._script(keys=[f"{_PREFIX}{key}"], args=[rate.interval, rate.seconds])
        except REDIS_ERRORS as error:
            _log.warning("rates are counted in this process: Redis is away (%s)", type(error).__name__)
            self._asked_again_at = self._clock.monotonic() + _LEFT_ALONE_SECONDS
            return self._instead.take(key, rate)
        return Verdict(allowed == "1", rate, float(owed))

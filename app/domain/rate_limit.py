"""Rate limits as token buckets, each kept as one number: how long until the bucket is full again. Pure."""

from dataclasses import dataclass
from typing import Protocol

from app.domain.errors import Retryable

_ROUNDING = 1e-6
"""Seconds that clocks and floats may be off; less than anybody could notice."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds: at once, or spread out."""

    tokens: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds until one token has come back."""
        return self.seconds / self.tokens


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one more is allowed; `owed` seconds from now the bucket is full again."""

    allowed: bool
    rate: Rate
    owed: float

    @property
    def remaining(self) -> int:
        """How many more would be allowed now."""
        return max(0, int((self.rate.seconds - self.owed) / self.rate.interval + _ROUNDING))

    @property
    def retry_after(self) -> float:
        """Seconds until one is allowed."""
        return max(0.0, self.owed + self.rate.interval - self.rate.seconds)


def take(owed: float, rate: Rate) -> Verdict:
    """Take one token out of a bucket that is full again in `owed` seconds; a refused one takes nothing."""
    after = max(owed, 0.0) + rate.interval
    allowed = after <= rate.seconds + _ROUNDING
    return Verdict(allowed, rate, after if allowed else max(owed, 0.0))


class RateLimiter(Protocol):
    """Counts what callers ask for."""

    def take(self, key: str, rate: Rate) -> Verdict:
        """One token out of this key's bucket; never raises, and never waits long."""


class OverLimit(Retryable):
    """The caller asks more often, or for more at once, than it may; HTTP answers 429. `verdict` of a rate."""

    def __init__(self, message: str, retry_after: float, verdict: Verdict | None = None) -> None:
        super().__init__(message, retry_after)
        self.verdict = verdict


def within_rate(limiter: RateLimiter, key: str, rate: Rate) -> Verdict:
    """Take one; `OverLimit` where there is none."""
    verdict = limiter.take(key, rate)
    if not verdict.allowed:
        said = f"at most {rate.tokens} of these are allowed in {rate.seconds:.0f} s"
        raise OverLimit(said, verdict.retry_after, verdict)
    return verdict

"""The circuit breaker in front of one peer: after enough failures it is left in peace, then one call tries again.

pybreaker keeps the states and counts. Its own `call` holds a lock for the whole call, which would make the delivery
worker's threads wait for one another, and it trusts the wall clock; so calls run outside of it and time is monotonic.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pybreaker

from app.domain.errors import Retryable


class BreakerOpen(Retryable):
    """The peer was not called: it failed too often a moment ago. `retry_after` says when the next call may go."""


@dataclass(slots=True)
class Attempt:
    """One admitted call; its maker sets `blameless` when the peer answered that the call itself was wrong, and
    `inconclusive` when the call ended too early to tell how the peer is.
    """

    probe: bool
    round: int
    blameless: bool = False
    inconclusive: bool = False


class Breaker:
    """`failures` in a row open it for `reset_seconds`; a call slower than `slow_seconds` counts as a failure."""

    def __init__(
        self,
        failures: int,
        reset_seconds: float,
        slow_seconds: float,
        on_change: Callable[[str], None] = lambda _state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._states = pybreaker.CircuitBreaker(fail_max=failures, throw_new_error_on_trip=False)
        self.slow_seconds = slow_seconds
        self._reset_seconds = reset_seconds
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._opened_at = 0.0
        self._round = 0

    @property
    def is_open(self) -> bool:
        """Whether a call made now would not be let through."""
        with self._lock:
            return self._remaining() is not None

    def close(self) -> None:
        """Let calls through again: somebody saw the peer well."""
        with self._lock:
            if self._states.current_state != pybreaker.STATE_CLOSED:
                self._change(self._states.close)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Run one call; raises `BreakerOpen` instead when it may not go. An exception that leaves it is a failure."""
        attempt = self._admit()
        started = self._clock()
        well = False
        try:
            yield attempt
            well = True
        finally:
            slow = self._clock() - started > self.slow_seconds
            # A probe has to end in a verdict, or nobody would ever be let through again.
            if attempt.probe or not attempt.inconclusive:
                self._settle(attempt, (well or attempt.blameless) and not slow)

    def _admit(self) -> Attempt:
        with self._lock:
            wait = self._remaining()
            if wait is not None:
                raise BreakerOpen("waiting before the next call", retry_after=wait)
            probe = self._states.current_state == pybreaker.STATE_OPEN
            if probe:
                self._change(self._states.half_open)
            return Attempt(probe, self._round)

    def _remaining(self) -> float | None:
        """Seconds until a call may go, None when it may go now; while a probe is under way nobody else may."""
        state = self._states.current_state
        if state == pybreaker.STATE_CLOSED:
            return None
        if state == pybreaker.STATE_HALF_OPEN:
            return 1.0
        left = self._opened_at + self._reset_seconds - self._clock()
        return left if left > 0 else None

    def _settle(self, attempt: Attempt, well: bool) -> None:
        """Count the outcome, unless the breaker changed since the call went out: a straggler proves nothing now."""
        with self._lock:
            if attempt.round != self._round:
                return
            before = self._states.current_state
            with suppress(_Failed):
                self._states.call(_outcome, well)
            if self._states.current_state != before:
                self._change(None)

    def _change(self, move: Callable[[], object] | None) -> None:
        if move is not None:
            move()
        self._round += 1
        state = self._states.current_state
        if state == pybreaker.STATE_OPEN:
            self._opened_at = self._clock()
        self._on_change(state)


class _Failed(Exception):
    """Tells pybreaker of a failure."""


def _outcome(well: bool) -> None:
    if not well:
        raise _Failed

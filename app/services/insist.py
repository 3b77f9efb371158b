"""Waiting for Postgres with something in hand that cannot be had again."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from app.domain.errors import StoreUnavailable
from app.domain.ports import Clock

Found = TypeVar("Found")
_ATTEMPTS = 120
_PAUSE_SECONDS = 0.5


def insist(step: Callable[[], Found], clock: Clock) -> Found:
    """Try this step for at least a minute; the lease, not patience, decides whose it is by then."""
    attempts = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_fixed(_PAUSE_SECONDS),
        sleep=clock.sleep,
        reraise=True,
    )
    return attempts(step)

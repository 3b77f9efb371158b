"""`Brain` over HTTP: offers memories to SomaBrain, whatever version answers, in bounded time.

Step 5 of the line. Nothing is retried here: the row in `memory_write_outbox` is what is retried.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from app.adapters.http.bounded import Answer, BoundedHttp, NoAnswer
from app.adapters.http.brain_answers import NO_SUCH_ROUTE, receipt_of, receipts_of, says_well
from app.adapters.http.brain_requests import batch_body_of, batch_headers_of, body_of, headers_of, request_id_of
from app.adapters.http.breaker import Breaker, BreakerOpen
from app.domain.errors import BatchRefused, BrainForbidden, BrainUnavailable, MemoryRefused
from app.domain.memory import Memory, Remembered
from app.settings import Settings
from app.telemetry.metrics import (
    SOMABRAIN_BREAKER,
    SOMABRAIN_HEALTH,
    SOMABRAIN_MEMORY_WRITES,
    SOMABRAIN_REQUEST_SECONDS,
    SOMABRAIN_REQUESTS,
)

_REMEMBER = "/memory/remember"
_REMEMBER_BATCH = "/memory/remember/batch"
_HEALTH = "/health"
_HEALTH_SECONDS = 1.0
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_FAILURES_TO_OPEN = 5
_OPEN_SECONDS = 10.0
_BREAKER_LEVELS = {"closed": 0, "half-open": 1, "open": 2}

_log = logging.getLogger(__name__)


class HttpBrain:
    """SomaBrain behind one address; safe for many threads, one instance per process."""

    def __init__(self, base_url: str, authorization: str, timeout_seconds: float, breaker: Breaker) -> None:
        self._base_url = base_url
        self._credentials = {"Authorization": authorization} if authorization else {}
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._http = BoundedHttp(_MAX_ANSWER_BYTES)
        self._takes_batches = True

    @classmethod
    def from_settings(cls, settings: Settings, most_seconds: float = math.inf) -> "HttpBrain":
        """The client of `SOMA_BASE_URL`, whose calls take at most so long; `Misconfigured` where that is not set."""
        settings.require("soma_base_url")
        prefix = settings.soma_api_prefix.strip("/")
        token = settings.soma_api_key.get_secret_value()
        return cls(
            base_url=f"{settings.soma_base_url}/{prefix}".rstrip("/"),
            authorization=settings.soma_auth_header.get_secret_value() or (f"Bearer {token}" if token else ""),
            timeout_seconds=min(settings.soma_timeout_seconds, most_seconds),
            breaker=Breaker(_FAILURES_TO_OPEN, _OPEN_SECONDS, settings.soma_slow_seconds, _show_breaker),
        )

    @property
    def breaker_open(self) -> bool:
        """Whether a call made now would not be sent at all."""
        return self._breaker.is_open

    def close_breaker(self) -> None:
        """Let calls through again: `/health` was seen well."""
        self._breaker.close()

    def remember(self, memory: Memory) -> Remembered:
        """Offer one memory once. Raises `BrainUnavailable`, `BrainForbidden` or `MemoryRefused`."""
        with _counting_writes(), _waiting_for_the_breaker():
            receipt = self._offer(memory, body_of(memory))
        SOMABRAIN_MEMORY_WRITES.labels("ok" if receipt.kept else "taken").inc()
        return receipt

    def remember_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        """Offer memories of one place in one call. Raises `BrainUnavailable`, `BrainForbidden` or `BatchRefused`."""
        if not self._takes_batches:
            raise BatchRefused("this SomaBrain takes no batches")
        with _counting_writes(len(memories)), _waiting_for_the_breaker():
            receipts = self._offer_all(memories)
        for receipt in receipts:
            SOMABRAIN_MEMORY_WRITES.labels("ok" if receipt.kept else "taken").inc()
        return receipts

    def healthy(self) -> bool:
        """What `/health` says of itself within a second; no answer means no."""
        try:
            answer = self._call("GET", _HEALTH, {}, None, _HEALTH_SECONDS)
        except NoAnswer:
            _show_health("down")
            return False
        well = says_well(answer)
        _show_health("normal" if well else "degraded")
        return well

    def _offer(self, memory: Memory, body: bytes) -> Remembered:
        request_id = request_id_of(memory)
        headers = headers_of(memory, request_id)
        with self._breaker.attempt() as attempt:
            try:
                answer = self._call("POST", _REMEMBER, headers, body, self._timeout_seconds)
            except NoAnswer as error:
                raise BrainUnavailable(f"SomaBrain gave no answer: {error.kind}") from error
            attempt.blameless = 400 <= answer.status < 500
            return receipt_of(answer, request_id, datetime.now(UTC))

    def _offer_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        try:
            body = batch_body_of(memories)
        except MemoryRefused as error:
            raise BatchRefused(str(error)) from error
        with self._breaker.attempt() as attempt:
            try:
                answer = self._call("POST", _REMEMBER_BATCH, batch_headers_of(memories), body, self._timeout_seconds)
            except NoAnswer as error:
                raise BrainUnavailable(f"SomaBrain gave no answer: {error.kind}") from error
            attempt.blameless = 400 <= answer.status < 500 or answer.status in NO_SUCH_ROUTE
            self._takes_batches = answer.status not in NO_SUCH_ROUTE
            return receipts_of(answer, [request_id_of(memory) for memory in memories], datetime.now(UTC))

    def _call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, seconds: float) -> Answer:
        started = time.monotonic()
        status = "none"
        try:
            answer = self._http.send(method, self._base_url + path, {**self._credentials, **headers}, body, seconds)
            status = str(answer.status)
            return answer
        except NoAnswer as error:
            status = error.kind
            raise
        finally:
            _record(method, path, status, time.monotonic() - started, headers)


def _record(method: str, path: str, status: str, seconds: float, headers: Mapping[str, str]) -> None:
    SOMABRAIN_REQUESTS.labels(method, path, status).inc()
    SOMABRAIN_REQUEST_SECONDS.labels(method, path, status).observe(seconds)
    level = logging.DEBUG if status.startswith("2") else logging.WARNING
    facts = {
        "method": method,
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "tenant": headers.get("X-Tenant-ID"),
        "request_id": headers.get("X-Request-ID"),
    }
    _log.log(level, "somabrain call", extra=facts)


@contextmanager
def _waiting_for_the_breaker() -> Iterator[None]:
    try:
        yield
    except BreakerOpen as error:
        # No wish to wait: that is the peer's to make, and a healthy probe may end this pause at any moment.
        raise BrainUnavailable("SomaBrain failed too often a moment ago") from error


@contextmanager
def _counting_writes(memories: int = 1) -> Iterator[None]:
    try:
        yield
    except (BrainUnavailable, MemoryRefused) as error:
        SOMABRAIN_MEMORY_WRITES.labels(_result_of(error)).inc(memories)
        raise


def _result_of(error: BrainUnavailable | MemoryRefused) -> str:
    if isinstance(error, MemoryRefused):
        return "refused"
    if isinstance(error.__cause__, BreakerOpen):
        return "breaker_open"
    return "forbidden" if isinstance(error, BrainForbidden) else "unavailable"


def _show_breaker(state: str) -> None:
    SOMABRAIN_BREAKER.set(_BREAKER_LEVELS[state])


def _show_health(state: str) -> None:
    for each in ("normal", "degraded", "down"):
        SOMABRAIN_HEALTH.labels(each).set(1 if each == state else 0)

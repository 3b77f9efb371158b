"""The line to SomaBrain: every request is bounded, counted, logged without what it says, and heard by the breaker.

Nothing is retried here. One errand may need several requests, because versions differ; they share one deadline.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from app.adapters.http.bounded import Answer, BoundedHttp, NoAnswer
from app.adapters.http.brain_answers import WRONG_CREDENTIALS
from app.adapters.http.brain_requests import Request
from app.adapters.http.breaker import Attempt, Breaker, BreakerOpen
from app.domain.errors import BrainUnavailable
from app.telemetry.metrics import SOMABRAIN_REQUEST_SECONDS, SOMABRAIN_REQUESTS

_MAX_ANSWER_BYTES = 4 * 1024 * 1024

Read = TypeVar("Read")

_log = logging.getLogger(__name__)


class BrainLine:
    """SomaBrain's address and our credentials; safe for many threads, one instance per process."""

    def __init__(self, base_url: str, authorization: str, timeout_seconds: float, breaker: Breaker) -> None:
        self._base_url = base_url
        self._credentials = {"Authorization": authorization} if authorization else {}
        self._timeout_seconds = timeout_seconds
        self._http = BoundedHttp(_MAX_ANSWER_BYTES)
        self.breaker = breaker
        self.refuses_us = False

    def errand(self, seconds: float | None = None) -> "Errand":
        """Begin something that may take this long in all; None stands for the configured deadline."""
        if seconds is None:
            return Errand(self, self._timeout_seconds, hurried=False)
        hurried = seconds < min(self._timeout_seconds, self.breaker.slow_seconds)
        return Errand(self, min(seconds, self._timeout_seconds), hurried)

    def send(self, request: Request, seconds: float) -> Answer:
        """The answer, whatever its status; `NoAnswer` when none came in time."""
        started = time.monotonic()
        status = "none"
        headers = {**self._credentials, **request.headers}
        try:
            answer = self._http.send(request.method, self._base_url + request.target, headers, request.body, seconds)
            status = str(answer.status)
            return answer
        except NoAnswer as error:
            status = error.kind
            raise
        finally:
            _record(request, status, time.monotonic() - started)


class Errand:
    """Requests that together end in time."""

    def __init__(self, line: BrainLine, seconds: float, hurried: bool) -> None:
        self._line = line
        self._ends_at = time.monotonic() + seconds
        self._hurried = hurried

    def ask(self, request: Request, read: Callable[[Answer], Read]) -> Read:
        """What `read` makes of the answer. Whatever it raises counts against SomaBrain, unless the answer's status says
        that the request was at fault. `BrainUnavailable` without an answer, or when the breaker lets nothing through.
        """
        try:
            with self._line.breaker.attempt() as attempt:
                answer = self._answer(request, attempt)
                attempt.blameless = 400 <= answer.status < 500 or answer.status in request.forgiven
                return read(answer)
        except BreakerOpen as error:
            # No wish to wait: that is the peer's to make, and a healthy probe may end this pause at any moment.
            raise BrainUnavailable("SomaBrain failed too often a moment ago") from error

    def _answer(self, request: Request, attempt: Attempt) -> Answer:
        try:
            left = self._ends_at - time.monotonic()
            if left <= 0:
                raise NoAnswer("timeout")
            answer = self._line.send(request, left)
        except NoAnswer as error:
            # Somebody in a hurry does not learn whether SomaBrain would have answered in the time it is due.
            attempt.inconclusive = self._hurried and error.kind == "timeout"
            raise BrainUnavailable(f"SomaBrain gave no answer: {error.kind}") from error
        self._line.refuses_us = answer.status in WRONG_CREDENTIALS
        return answer


def _record(request: Request, status: str, seconds: float) -> None:
    SOMABRAIN_REQUESTS.labels(request.method, request.path, status).inc()
    SOMABRAIN_REQUEST_SECONDS.labels(request.method, request.path, status).observe(seconds)
    level = logging.DEBUG if status.startswith("2") else logging.WARNING
    _log.log(level, "somabrain call", extra=_facts(request, status, seconds))


def _facts(request: Request, status: str, seconds: float) -> Mapping[str, object]:
    return {
        "method": request.method,
        "path": request.path,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "tenant": request.headers.get("X-Tenant-ID"),
        "request_id": request.headers.get("X-Request-ID"),
    }

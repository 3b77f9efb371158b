"""`Brain` over HTTP: remembers, recalls and forgets in SomaBrain, whatever version answers, in bounded time.

Step 5 of the line, and the recall of step 4. Nothing is retried here: the rows that wait are what is retried. Another
request within a call is another dialect, never a second try, and shares the call's deadline.
"""

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from app.adapters.http import brain_requests as requests_for
from app.adapters.http.bounded import Answer, NoAnswer
from app.adapters.http.brain_answers import (
    NO_SUCH_ROUTE,
    check_done,
    check_forgotten,
    figures_of,
    receipt_of,
    receipts_of,
    says_well,
)
from app.adapters.http.brain_dialect import NOT_FOUND, Dialect, Way
from app.adapters.http.brain_line import BrainLine
from app.adapters.http.brain_listing import list_items, page_of
from app.adapters.http.brain_recollections import recollections_of
from app.adapters.http.breaker import Breaker, BreakerOpen
from app.domain.errors import BatchRefused, BrainForbidden, BrainUnavailable, MemoryRefused
from app.domain.memory import Memory, Place, Remembered
from app.domain.proof_ports import BrainPage
from app.domain.recall import BrainFigures, Question, Recollection
from app.settings import Settings
from app.telemetry.metrics import SOMABRAIN_BREAKER, SOMABRAIN_HEALTH, SOMABRAIN_MEMORY_WRITES

_HEALTH_SECONDS = 1.0
_FAILURES_TO_OPEN = 5
_OPEN_SECONDS = 10.0
_BREAKER_LEVELS = {"closed": 0, "half-open": 1, "open": 2}


class HttpBrain:
    """SomaBrain behind one address; safe for many threads, one instance per process."""

    def __init__(self, line: BrainLine, dialect: Dialect) -> None:
        self._line = line
        self._dialect = dialect

    @classmethod
    def from_settings(cls, settings: Settings, most_seconds: float = math.inf) -> "HttpBrain":
        """The client of `SOMA_BASE_URL`, whose calls take at most so long; `Misconfigured` where that is not set."""
        settings.require("soma_base_url")
        prefix = settings.soma_api_prefix.strip("/")
        token = settings.soma_api_key.get_secret_value()
        line = BrainLine(
            base_url=f"{settings.soma_base_url}/{prefix}".rstrip("/"),
            authorization=settings.soma_auth_header.get_secret_value() or (f"Bearer {token}" if token else ""),
            timeout_seconds=min(settings.soma_timeout_seconds, most_seconds),
            breaker=Breaker(_FAILURES_TO_OPEN, _OPEN_SECONDS, settings.soma_slow_seconds, _show_breaker),
        )
        return cls(line, Dialect(settings.soma_allow_legacy))

    @property
    def breaker_open(self) -> bool:
        """Whether a call made now would not be sent at all."""
        return self._line.breaker.is_open

    @property
    def refuses_us(self) -> bool:
        """Whether the last call was answered that our credentials are wrong; `/health` may be open to everybody."""
        return self._line.refuses_us

    def close_breaker(self) -> None:
        """Let calls through again: `/health` was seen well."""
        self._line.breaker.close()

    def remember(self, memory: Memory) -> Remembered:
        """Offer one memory once. Raises `BrainUnavailable`, `BrainForbidden` or `MemoryRefused`."""
        with _counting_writes():
            receipt = self._offer(memory)
        SOMABRAIN_MEMORY_WRITES.labels("ok" if receipt.kept else "taken").inc()
        return receipt

    def remember_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        """Offer memories of one place in one call. Raises `BrainUnavailable`, `BrainForbidden` or `BatchRefused`."""
        if not self._dialect.takes_batches:
            raise BatchRefused("this SomaBrain takes no batches")
        with _counting_writes(len(memories)):
            receipts = self._offer_all(memories)
        for receipt in receipts:
            SOMABRAIN_MEMORY_WRITES.labels("ok" if receipt.kept else "taken").inc()
        return receipts

    def recall(self, question: Question, seconds: float | None = None) -> list[Recollection]:
        """At most `top_k` different memories of the question's place, best first, within `seconds` in all. Raises
        `BrainUnavailable`, also where the question is refused, or `BrainForbidden`.
        """
        errand = self._line.errand(seconds)
        request_id = str(uuid.uuid4())
        found: list[Recollection] | Way = self._dialect.way_to_recall
        while isinstance(found, Way):
            request = requests_for.recall(question, request_id, found)
            found = errand.ask(request, partial(self._found, found, question))
        return found

    def forget(
        self,
        event_id: str,
        place: Place,
        request_id: str,
        *,
        traceparent: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Delete one memory; one that is not there is deleted already, and versions that read `idempotency_key` keep no
        write of it that comes late. Raises `BrainUnavailable`, `BrainForbidden`, `BrainCannotForget` where this version
        cannot delete, `MemoryRefused` where it never will.
        """
        errand = self._line.errand()
        request = requests_for.forget(event_id, place, request_id, traceparent, idempotency_key)
        first, second = self._dialect.routes_to_forget
        if not errand.ask(replace(request, path=first), self._forgotten_here):
            errand.ask(replace(request, path=second), self._check_forgotten)
            self._dialect.forgets_at(second)

    def link(self, place: Place, from_id: str, to_id: str, *, kind: str = "related", weight: float = 1.0) -> None:
        """Tie two memories of one place together; a repeat may change the weight. Raises as `remember` does."""
        request = requests_for.link(place, (from_id, to_id), kind, weight)
        self._line.errand().ask(request, lambda answer: check_done(answer, _now()))

    def figures(self, place: Place) -> BrainFigures:
        """What SomaBrain says of this drawer. Raises `BrainUnavailable` or `BrainForbidden`."""
        return self._line.errand().ask(
            requests_for.figures(place, str(uuid.uuid4())), lambda answer: figures_of(answer, _now())
        )

    def page(self, tenant: str, after: str, limit: int) -> BrainPage:
        """One page of what a tenant's memories are, a shorter one where this many are more than an answer may hold.
        Raises `BrainCannotList` where this version does not say, else as `figures` does.
        """
        request = list_items(tenant, after, limit)
        try:
            return self._line.errand().ask(request, lambda answer: page_of(answer, tenant, _now()))
        except BrainUnavailable as error:
            if limit == 1 or not (isinstance(error.__cause__, NoAnswer) and error.__cause__.kind == "too_big"):
                raise
        return self.page(tenant, after, max(limit // 25, 1))

    def healthy(self) -> bool:
        """What `/health` says of itself within a second; no answer means no."""
        try:
            answer = self._line.send(requests_for.health(), _HEALTH_SECONDS)
        except NoAnswer:
            _show_health("down")
            return False
        well = says_well(answer)
        _show_health("normal" if well else "degraded")
        return well

    def _offer(self, memory: Memory) -> Remembered:
        errand = self._line.errand()
        if not self._dialect.remembers_the_older_way:
            receipt = errand.ask(requests_for.remember(memory), partial(self._receipt, memory))
            if receipt is not None:
                return receipt
        return errand.ask(requests_for.remember_the_older_way(memory), partial(self._older_receipt, memory))

    def _receipt(self, memory: Memory, answer: Answer) -> Remembered | None:
        """None where the older way is to be tried."""
        if self._dialect.has_only_the_older_way(answer):
            return None
        return receipt_of(answer, requests_for.request_id_of(memory), _now())

    def _older_receipt(self, memory: Memory, answer: Answer) -> Remembered:
        # Any other answer sends the next memory to the newest route first: the older one is lossy.
        self._dialect.remembers_the_older_way = False
        receipt = receipt_of(answer, requests_for.request_id_of(memory), _now())
        self._dialect.remembers_the_older_way = True
        return receipt

    def _offer_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        try:
            request = requests_for.remember_all(memories)
        except MemoryRefused as error:
            raise BatchRefused(str(error)) from error
        return self._line.errand().ask(request, partial(self._receipts, memories))

    def _receipts(self, memories: Sequence[Memory], answer: Answer) -> list[Remembered]:
        self._dialect.takes_batches = answer.status not in NO_SUCH_ROUTE
        return receipts_of(answer, [requests_for.request_id_of(memory) for memory in memories], _now())

    def _found(self, way: Way, question: Question, answer: Answer) -> list[Recollection] | Way:
        other = self._dialect.next_way_to_recall(way, answer)
        if other is not None:
            return other
        self._dialect.does_not_recall(way, answer)
        found = recollections_of(answer, question, way.older, _now())
        self._dialect.recalls(way)
        return found

    def _forgotten_here(self, answer: Answer) -> bool:
        """False where this version may delete at the other route."""
        if answer.status == NOT_FOUND:
            return False
        self._check_forgotten(answer)
        return True

    def _check_forgotten(self, answer: Answer) -> None:
        check_forgotten(answer, _now())


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


def _now() -> datetime:
    return datetime.now(UTC)


def _show_breaker(state: str) -> None:
    SOMABRAIN_BREAKER.set(_BREAKER_LEVELS[state])


def _show_health(state: str) -> None:
    for each in ("normal", "degraded", "down"):
        SOMABRAIN_HEALTH.labels(each).set(1 if each == state else 0)

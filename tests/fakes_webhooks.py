"""Webhooks, in memory: a crew that works at once, a receiver that follows a script, deliveries in a dictionary."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import ReceiverUnavailable
from app.domain.webhooks import Batch, Endpoint, OwedDelivery, Reply
from tests.fakes_store import InMemoryStore
from tests.fakes_work import Row


@dataclass
class InlineCrew:
    """`Crew` that does a job while it is handed over."""

    free: int = 8

    def hand(self, job: Callable[[], None]) -> bool:
        if not self.free:
            return False
        job()
        return True


@dataclass
class ScriptedReceiver:
    """`Receiver` that answers as told, one after the other; the last answer stays."""

    answers: list[Reply | ReceiverUnavailable] = field(default_factory=lambda: [Reply(200)])
    sent: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.sent.append((url, headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ReceiverUnavailable):
            raise answer
        return answer

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.sent]


@dataclass
class FakeWebhook:
    """One webhook's row."""

    endpoint: Endpoint
    enabled: bool = True
    reason: str | None = None


@dataclass(frozen=True)
class FakeDelivery:
    """What a delivery's row holds beside its lease."""

    webhook_id: str
    payload: Mapping[str, Any]
    tenant: str = "t1"
    session_id: str | None = None


@dataclass
class InMemoryWebhooks:
    """`WebhookOutbox` of one process."""

    store: InMemoryStore
    webhooks: dict[str, FakeWebhook]
    owner: str = "p"
    lease_seconds: float = 30.0
    keep_seconds: float = 7 * 86_400

    def claim_batches(self, endpoints: int, each: int) -> list[Batch]:
        with self.store.transaction():
            chosen = self._choose(endpoints, each)
            rows = self.store.webhook_rows
            taken = rows.claim(self.owner, self.lease_seconds, len(chosen), lambda row: row.key in chosen)
            alive = [row for row in taken if not row.is_worn_out]
            worn_out = [row.lease for row in taken if row.is_worn_out]
            rows.settle(worn_out, "dead", "a worker died 5 times while delivering it")
            batches: dict[str, list[Row[FakeDelivery]]] = defaultdict(list)
            for row in sorted(alive, key=_turn):
                batches[row.thing.webhook_id].append(row)
            return [Batch(self.webhooks[key].endpoint, [self._owed(row) for row in b]) for key, b in batches.items()]

    def _choose(self, endpoints: int, each: int) -> set[str]:
        rows, now = self.store.webhook_rows, self.store.clock.monotonic()
        by_webhook: dict[str, list[Row[FakeDelivery]]] = defaultdict(list)
        for row in sorted(rows.owed, key=_turn):
            by_webhook[row.thing.webhook_id].append(row)
        free = [
            [row for row in owed if rows.is_due(row)][:each]
            for key, owed in by_webhook.items()
            if key in self.webhooks
            and self.webhooks[key].enabled
            and not any(rows.is_held(row) or (row.outage and row.run_at > now) for row in owed)
        ]
        waiting = sorted(filter(None, free), key=lambda owed: owed[0].run_at)
        return {row.key for owed in waiting[:endpoints] for row in owed}

    def _owed(self, row: Row[FakeDelivery]) -> OwedDelivery:
        late = row.created_at < self.store.clock.monotonic() - self.keep_seconds
        return OwedDelivery(row.lease, row.thing.payload, late)

    def delivered(self, owed: OwedDelivery) -> None:
        self._end([owed], lambda rows: rows.settle([owed.lease], "delivered"))

    def postpone(self, owed: Sequence[OwedDelivery], seconds: float, reason: str, outage: bool) -> None:
        self._end(owed, lambda rows: rows.postpone([o.lease for o in owed], seconds, reason, outage))

    def release(self, owed: Sequence[OwedDelivery]) -> None:
        self._end(owed, lambda rows: rows.release([o.lease for o in owed]))

    def bury(self, owed: OwedDelivery, reason: str) -> None:
        self._end([owed], lambda rows: rows.settle([owed.lease], "dead", reason))

    def switch_off(self, owed: OwedDelivery, webhook_id: str, reason: str) -> None:
        if self.store.webhook_rows.holds(owed.lease):
            self.webhooks[webhook_id].enabled = False
            self.webhooks[webhook_id].reason = reason
        self.bury(owed, reason)

    def survived(self, owed: Sequence[OwedDelivery]) -> None:
        self.store.survived(self.store.webhook_rows, [each.lease for each in owed])

    def _end(self, owed: Sequence[OwedDelivery], step: Callable[[Any], set[str]]) -> None:
        self.store.end(self.store.webhook_rows, [each.lease for each in owed], step)


def _turn(row: Row[FakeDelivery]) -> tuple[bool, float, int]:
    return not row.outage, row.run_at, row.number

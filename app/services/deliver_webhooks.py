"""Webhooks on their way: a batch for each receiver that is owed something, in a thread of its own, one delivery after
another. The first attempt and every later one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from app.domain.backoff import Backoff
from app.domain.errors import ReceiverUnavailable
from app.domain.ports import Clock, Doorbell
from app.domain.webhook_ports import Crew, Receiver, WebhookOutbox
from app.domain.webhooks import Batch, Endpoint, OwedDelivery, Reply, Verdict, signed
from app.routing import TaskName
from app.services.survive import surviving

_EACH = 20
_UNREADABLE = (
    "its secret cannot be read with this GATEWAY_ENC_KEY; PATCH the webhook with rotate_secret and replay this"
)


@dataclass(frozen=True, slots=True)
class WebhookPlane:
    """What delivering needs. `slice_seconds` bounds a batch well below the lease, `stopping` tells that the process
    ends, `count` is told each result.
    """

    outbox: WebhookOutbox
    receiver: Receiver
    crew: Crew
    doorbell: Doorbell
    clock: Clock
    count: Callable[[str], None] = lambda _result: None
    stopping: Callable[[], bool] = lambda: False
    slice_seconds: float = 10.0
    backoff: Backoff = field(default_factory=lambda: Backoff(base=5.0, cap=3600.0))


def deliver_webhooks(plane: WebhookPlane) -> int:
    """Begin as many batches as there are free threads; how many that were."""
    free = plane.crew.free
    batches = plane.outbox.claim_batches(free, _EACH) if free > 0 else []
    for batch in batches:
        if not plane.crew.hand(partial(_deliver, batch, plane)):
            plane.outbox.release(batch.deliveries)
    return len(batches)


def _deliver(batch: Batch, plane: WebhookPlane) -> None:
    with surviving(lambda: plane.outbox.survived(batch.deliveries)):
        left = deque(batch.deliveries)
        well, until = True, plane.clock.monotonic() + plane.slice_seconds
        while left and well and not plane.stopping() and plane.clock.monotonic() <= until:
            well = _attempt(left.popleft(), batch.endpoint, plane)
        if left:
            plane.outbox.release(left)
    if well and (left or len(batch.deliveries) == _EACH):
        plane.doorbell.ring(TaskName.DELIVER_WEBHOOKS)


def _attempt(owed: OwedDelivery, endpoint: Endpoint, plane: WebhookPlane) -> bool:
    """Whether the receiver can be sent the next one."""
    try:
        reply = _sent(owed, endpoint, plane)
    except ReceiverUnavailable as error:
        _later(owed, str(error), None, plane)
        return False
    said = f"it answered {reply.status}"
    match reply.verdict:
        case Verdict.TAKEN:
            plane.outbox.delivered(owed)
            plane.count("ok")
        case Verdict.WRONG:
            plane.outbox.bury(owed, said)
            plane.count("dead")
        case Verdict.GONE:
            plane.outbox.switch_off(owed, endpoint.webhook_id, said)
            plane.count("dead")
        case Verdict.LATER:
            _later(owed, said, reply.retry_after, plane)
    return reply.verdict in (Verdict.TAKEN, Verdict.WRONG)


def _sent(owed: OwedDelivery, endpoint: Endpoint, plane: WebhookPlane) -> Reply:
    if not endpoint.secrets:
        raise ReceiverUnavailable(_UNREADABLE)  # nothing is sent unsigned
    headers = signed(owed.lease.key, owed.body, plane.clock.now(), endpoint.secrets)
    return plane.receiver.send(endpoint.url, headers, owed.body)


def _later(owed: OwedDelivery, reason: str, wished: float | None, plane: WebhookPlane) -> None:
    if owed.last_try:
        plane.outbox.bury(owed, f"{reason}, for as long as deliveries are kept")
        plane.count("dead")
        return
    pause = max(wished or 0.0, plane.backoff.pause(owed.lease.failures, 0.5))
    plane.outbox.postpone([owed], pause, reason, outage=True)
    plane.count("retry")

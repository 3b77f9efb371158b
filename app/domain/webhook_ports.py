"""What webhooks need from the world, as roles."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from app.domain.conversation import Receipt, RequestKey
from app.domain.webhooks import (
    Batch,
    Delivery,
    DeliveryState,
    NewWebhook,
    OwedDelivery,
    Reply,
    Webhook,
    WebhookChange,
)

Place = tuple[datetime, str]
"""Where a page ended: when its last item was made, and its id."""


class WebhookDesk(Protocol):
    """The webhooks, as those who ask for them see them."""

    def accept(self, webhook: NewWebhook, key: RequestKey | None) -> Receipt:
        """Keep it; a repeated key gives the first receipt."""

    def find(self, webhook_id: str) -> Webhook | None:
        """As it stands now."""

    def secret(self, webhook_id: str) -> str | None:
        """The newest one, for the answer in which it is shown."""

    def page(self, tenant: str | None, before: Place | None, limit: int) -> Sequence[Webhook]:
        """Newest first."""

    def change(self, webhook_id: str, change: WebhookChange) -> Webhook | None:
        """None where there is none. What is owed waits while it is switched off."""

    def remove(self, webhook_id: str) -> bool:
        """Nothing is sent any more; false where there is none."""

    def deliveries(
        self, webhook_id: str, state: DeliveryState | None, before: Place | None, limit: int
    ) -> Sequence[Delivery]:
        """Newest first."""

    def replay(self, delivery_id: str) -> Delivery | None:
        """Have it sent again, under the same id; None where there is none, or its webhook is gone."""


class WebhookOutbox(Protocol):
    """Deliveries that their receivers have not confirmed."""

    def claim_batches(self, endpoints: int, each: int) -> list[Batch]:
        """Due deliveries of at most so many endpoints; none of one that has some in hand, or waits after a failure."""

    def delivered(self, owed: OwedDelivery) -> None: ...

    def postpone(self, owed: Sequence[OwedDelivery], seconds: float, reason: str, outage: bool) -> None: ...

    def release(self, owed: Sequence[OwedDelivery]) -> None: ...

    def bury(self, owed: OwedDelivery, reason: str) -> None: ...

    def switch_off(self, owed: OwedDelivery, webhook_id: str, reason: str) -> None:
        """One transaction: this one is dead, its webhook is switched off."""

    def survived(self, owed: Sequence[OwedDelivery]) -> None:
        """These claims could not be ended and their worker lives: they are no deaths. Never raises."""


class Receiver(Protocol):
    """The world outside, as deliveries see it."""

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One attempt, within a bounded time; `ReceiverUnavailable` where there was no answer."""


class Crew(Protocol):
    """Threads beside the worker's own, so that a slow receiver holds up nobody else."""

    @property
    def free(self) -> int:
        """How many jobs would begin at once."""

    def hand(self, job: Callable[[], None]) -> bool:
        """Begin this job, and return at once; false when no thread is free any more."""

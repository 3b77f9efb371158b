"""Webhooks: whom we tell of what, how a delivery is signed, and what its receiver's answer means. Pure.

Signed as Standard Webhooks has it: HMAC-SHA256 over id, time and body, with every secret that is valid now.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any

from app.domain.leases import Lease

SECRET_BYTES = 32
_SECRET_PREFIX = "whsec_"  # noqa: S105
_GONE = 410
_WRONG = frozenset({400, 413, 415, 422})


class WebhookEvent(StrEnum):
    """What a webhook may be told of: the ways in which a turn ends, and work that died."""

    FINAL = "assistant.final"
    ERROR = "assistant.error"
    CANCELLED = "assistant.cancelled"
    DENIED = "policy.denied"
    DEAD = "work.dead"


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DISCARDED = "discarded"


class Verdict(Enum):
    """What an answer means: taken, never this one, never any of them, later."""

    TAKEN = "taken"
    WRONG = "wrong"
    GONE = "gone"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook as it is asked for, with its secret."""

    webhook_id: str
    tenant: str
    url: str
    events: tuple[WebhookEvent, ...]
    secret: str = field(repr=False)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as people see it; `reason` says why we switched it off."""

    id: str
    tenant: str
    url: str
    events: tuple[WebhookEvent, ...]
    enabled: bool
    reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What is to be different; None stays as it is. A new `secret` leaves the one before valid for a day."""

    url: str | None = None
    events: tuple[WebhookEvent, ...] | None = None
    enabled: bool | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as people see it."""

    id: str
    webhook_id: str
    tenant: str
    type: WebhookEvent
    session_id: str | None
    state: DeliveryState
    attempts: int
    failures: int
    reason: str | None
    run_at: datetime
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where deliveries go, and the secrets that are valid now, the newest first; none where they cannot be read."""

    webhook_id: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwedDelivery:
    """A claimed delivery; its id stays the same however often it is sent. `last_try` when it has waited too long."""

    lease: Lease
    payload: Mapping[str, Any]
    last_try: bool = False

    @property
    def body(self) -> bytes:
        """The bytes that are signed and sent."""
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed deliveries of one endpoint, in the order in which they are sent."""

    endpoint: Endpoint
    deliveries: Sequence[OwedDelivery]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered, without its body; `retry_after` are seconds that it asks for."""

    status: int
    retry_after: float | None = None

    @property
    def verdict(self) -> Verdict:
        """What it means."""
        if 200 <= self.status < 300:
            return Verdict.TAKEN
        if self.status == _GONE:
            return Verdict.GONE
        return Verdict.WRONG if self.status in _WRONG else Verdict.LATER


def new_secret(chance: bytes) -> str:
    """The secret that these random bytes make."""
    return _SECRET_PREFIX + base64.b64encode(chance).decode()


def secret_use(webhook_id: str) -> str:
    """What the secret of a webhook is bound to where it is kept: it is of no use for another one."""
    return f"webhook secret\n{webhook_id}"


def signed(delivery_id: str, body: bytes, now: datetime, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of one attempt."""
    stamp = str(int(now.timestamp()))
    signatures = [_signature(secret, f"{delivery_id}.{stamp}.".encode() + body) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "SomaAgent01",
        "webhook-id": delivery_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()

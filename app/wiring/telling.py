"""What delivering webhooks needs."""

from collections.abc import Callable

from app.adapters.crew import ThreadCrew
from app.adapters.http.receiver import HttpReceiver
from app.adapters.sql.webhook_outbox import SqlWebhookOutbox
from app.services.deliver_webhooks import WebhookPlane
from app.wiring.process import Process
from app.wiring.vault import vault_of

_RECEIVERS_AT_ONCE = 8
_LONGEST_CALL_SECONDS = 10.0
_DAY_SECONDS = 86_400.0


def webhook_plane_of(process: Process, stopping: Callable[[], bool], count: Callable[[str], None]) -> WebhookPlane:
    """The way of webhooks to their receivers; a batch and its last call end well within a lease."""
    settings = process.settings
    third = settings.lease_seconds / 3
    seconds = min(_LONGEST_CALL_SECONDS, third)
    keep_seconds = settings.webhook_keep_days * _DAY_SECONDS
    vault = vault_of(settings)
    return WebhookPlane(
        outbox=SqlWebhookOutbox(process.engine, process.presence, settings.lease_seconds, keep_seconds, vault),
        receiver=HttpReceiver(process.clock, seconds, settings.webhook_allow_private),
        crew=ThreadCrew("webhooks", _RECEIVERS_AT_ONCE),
        doorbell=process.doorbell,
        clock=process.clock,
        count=count,
        stopping=stopping,
        slice_seconds=third,
    )

"""Queue `outbox`: webhooks on their way to their receivers."""

from functools import lru_cache

from app.routing import TaskName
from app.services.deliver_webhooks import WebhookPlane
from app.services.deliver_webhooks import deliver_webhooks as deliver
from app.telemetry.metrics import WEBHOOK_DELIVERIES
from app.wiring.process import this_process
from app.wiring.telling import webhook_plane_of
from tasks.application import celery
from tasks.base import ServiceTask
from tasks.process import SHUTTING_DOWN


@celery.task(name=TaskName.DELIVER_WEBHOOKS, base=ServiceTask)  # type: ignore[untyped-decorator]
def deliver_webhooks() -> int:
    """Begin to send what receivers are owed."""
    return deliver(_plane())


@lru_cache(maxsize=1)
def _plane() -> WebhookPlane:
    return webhook_plane_of(
        this_process(), SHUTTING_DOWN.is_set, lambda result: WEBHOOK_DELIVERIES.labels(result).inc()
    )

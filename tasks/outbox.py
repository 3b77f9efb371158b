"""Queue `outbox`: records on their way to Kafka."""

from app.routing import TaskName
from app.services.drain_outbox import drain_due_records
from app.telemetry.metrics import OUTBOX_BATCH, OUTBOX_PUBLISHED
from app.wiring.delivering import record_plane
from tasks.application import celery
from tasks.base import ServiceTask


@celery.task(name=TaskName.DRAIN_OUTBOX, base=ServiceTask)  # type: ignore[untyped-decorator]
def drain_outbox() -> int:
    """Hand Kafka every record whose time has come."""
    drained = drain_due_records(record_plane())
    OUTBOX_BATCH.set(drained.ok + drained.retry + drained.dead)
    OUTBOX_PUBLISHED.labels("ok").inc(drained.ok)
    OUTBOX_PUBLISHED.labels("retry").inc(drained.retry)
    OUTBOX_PUBLISHED.labels("dead").inc(drained.dead)
    return drained.ok

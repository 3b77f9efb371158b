"""Queue `memory_sync`: memories on their way to SomaBrain."""

from app.routing import TaskName
from app.services.sync_memories import sync_due_memories
from app.telemetry.metrics import MEMORY_SYNC_JOBS, MEMORY_SYNC_SECONDS
from app.wiring.delivering import memory_plane
from tasks.application import celery
from tasks.base import ServiceTask


@celery.task(name=TaskName.SYNC_MEMORIES, base=ServiceTask)  # type: ignore[untyped-decorator]
def sync_memories() -> int:
    """Offer SomaBrain every memory whose time has come."""
    with MEMORY_SYNC_SECONDS.time():
        delivered = sync_due_memories(memory_plane())
    MEMORY_SYNC_JOBS.labels("ok").inc(delivered.ok)
    MEMORY_SYNC_JOBS.labels("retry").inc(delivered.retry)
    MEMORY_SYNC_JOBS.labels("dead").inc(delivered.dead)
    return delivered.ok

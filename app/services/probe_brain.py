"""While memories wait for SomaBrain, ask every second whether it is back; its first yes makes them all due."""

from app.domain.ports import HealthNotes
from app.routing import TaskName
from app.services.sync_memories import MemoryPlane


def probe_brain(plane: MemoryPlane, notes: HealthNotes) -> int:
    """Memories woken; 0 while nothing waits or SomaBrain is still away."""
    if not plane.outbox.waits_for_peer():
        notes.note("somabrain", "ok", "")
        return 0
    well = plane.brain.healthy()
    if plane.brain.refuses_us:
        notes.note("somabrain", "degraded", "SomaBrain refuses our credentials: check SOMA_API_KEY; memories wait")
    elif not well:
        notes.note("somabrain", "down", "SomaBrain does not answer; memories wait and nothing is lost")
    if not well:
        return 0
    plane.brain.close_breaker()
    woken = plane.outbox.wake()
    plane.doorbell.ring(TaskName.SYNC_MEMORIES)
    return woken

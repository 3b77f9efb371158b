"""Step 5 of the line: offer SomaBrain every memory whose time has come. The first attempt and every later one."""

from dataclasses import dataclass, field

from app.domain.backoff import Backoff
from app.domain.errors import BrainUnavailable, MemoryRefused
from app.domain.events import EventType, live_item
from app.domain.memory import Remembered
from app.domain.ports import Brain, Broadcast, Clock, Doorbell, MemoryOutbox, OwedMemory
from app.routing import TaskName


@dataclass(frozen=True, slots=True)
class MemoryPlane:
    """What delivering memories needs. `slice_seconds` bounds one call well below the lease."""

    outbox: MemoryOutbox
    brain: Brain
    doorbell: Doorbell
    broadcast: Broadcast
    clock: Clock
    batch: int = 100
    slice_seconds: float = 10.0
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round did, in memories."""

    ok: int = 0
    retry: int = 0
    dead: int = 0


def sync_due_memories(plane: MemoryPlane) -> Delivered:
    """Attempt due memories once; a failure only moves their due time, for as long as the outage lasts."""
    if plane.brain.breaker_open:
        return Delivered()
    owed = plane.outbox.claim_due(plane.batch)
    if not owed:
        return Delivered()
    delivered = _deliver(owed, plane)
    if delivered.ok:
        plane.doorbell.ring(TaskName.DRAIN_OUTBOX)
    if len(owed) == plane.batch and not delivered.retry:
        plane.doorbell.ring(TaskName.SYNC_MEMORIES)
    return delivered


def _deliver(owed: list[OwedMemory], plane: MemoryPlane) -> Delivered:
    remembered: list[tuple[OwedMemory, Remembered]] = []
    dead = 0
    until = plane.clock.monotonic() + plane.slice_seconds
    for number, item in enumerate(owed):
        if plane.clock.monotonic() > until:
            plane.outbox.release(owed[number:])
            break
        try:
            remembered.append((item, plane.brain.remember(item.memory)))
        except MemoryRefused as error:
            plane.outbox.bury(item, str(error))
            dead += 1
        except BrainUnavailable as error:
            _settle(remembered, plane)
            return Delivered(len(remembered), _give_back(owed[number:], error, plane), dead)
    _settle(remembered, plane)
    return Delivered(len(remembered), 0, dead)


def _settle(remembered: list[tuple[OwedMemory, Remembered]], plane: MemoryPlane) -> None:
    if not remembered:
        return
    kept = set(plane.outbox.synced(remembered))
    for owed, _ in remembered:
        memory = owed.memory
        if memory.event_id in kept and memory.session_id:
            states = {memory.event_id: "remembered"}
            now = plane.clock.now()
            plane.broadcast.publish(
                memory.session_id, live_item(memory.session_id, EventType.MEMORY_STATUS, "", states, now)
            )


def _give_back(owed: list[OwedMemory], error: BrainUnavailable, plane: MemoryPlane) -> int:
    # A wish to wait is honoured to the second; without one the probe may end the wait early.
    wished = error.retry_after
    pause = wished if wished is not None else plane.backoff.pause(owed[0].lease.failures, 0.5)
    plane.outbox.postpone(owed, pause, str(error), outage=wished is None)
    return len(owed)

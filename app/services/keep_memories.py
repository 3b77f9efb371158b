"""Memories that callers bring or take back themselves: kept or marked first, then attempted once within the request.

Whatever the attempt brings, what was accepted is owed as a row, and the workers go on with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.conversation import RequestKey
from app.domain.errors import NotFound, Retryable
from app.domain.ledger import Acceptance, Ledger, Standing
from app.domain.memory import Memory, Remembered
from app.routing import TaskName
from app.services.sync_memories import Delivered, MemoryPlane, sync_these


@dataclass(frozen=True, slots=True)
class MemoryDoor:
    """What keeping and forgetting need: the ledger, and the way to SomaBrain for one attempt in bounded time."""

    ledger: Ledger
    plane: MemoryPlane


@dataclass(frozen=True, slots=True)
class MemoryReceipt:
    """How one memory stands when its request is answered; `error` is empty unless it was refused."""

    event_id: str
    ok: bool
    queued: bool
    result: Remembered | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A receipt for each memory in the order of the offer, and of those that were kept by it; `replayed` where the key
    was answered before.
    """

    receipts: list[MemoryReceipt]
    new: list[MemoryReceipt]
    replayed: bool = False


def keep_memories(memories: Sequence[Memory], key: RequestKey | None, door: MemoryDoor) -> Kept:
    """Keep all that are new, then offer them to SomaBrain once; `StoreUnavailable` when nothing could be kept."""
    accepted = door.ledger.accept(memories, key)
    new = [found.event_id for found in accepted.memories if found.standing is Standing.NEW]
    delivered = attempt(new, door.plane)
    receipts = [_receipt(found, delivered) for found in accepted.memories]
    fresh = [
        receipt for receipt, found in zip(receipts, accepted.memories, strict=True) if found.standing is Standing.NEW
    ]
    return Kept(receipts, fresh, accepted.replayed)


def forget_memory(event_id: str, tenant: str, door: MemoryDoor) -> bool:
    """From now on no memory, for anybody; whether SomaBrain has forgotten it already. `NotFound` for this tenant."""
    forgetting = door.ledger.forget(event_id, tenant)
    if forgetting is None:
        raise NotFound("there is no such memory")
    door.plane.doorbell.ring(TaskName.DRAIN_OUTBOX)
    return forgetting.done or event_id in attempt([event_id], door.plane).forgotten


def attempt(event_ids: Sequence[str], plane: MemoryPlane) -> Delivered:
    """One attempt at these rows, whose worst outcome is that they stay owed."""
    try:
        delivered = sync_these(plane, event_ids)
    except Retryable:
        delivered = Delivered()
    if delivered.ok < len(event_ids):
        plane.doorbell.ring(TaskName.SYNC_MEMORIES)
    return delivered


def _receipt(found: Acceptance, delivered: Delivered) -> MemoryReceipt:
    if found.reason:
        return MemoryReceipt(found.event_id, ok=False, queued=False, error=found.reason)
    receipt = delivered.remembered.get(found.event_id)
    done = receipt is not None or found.standing is Standing.REMEMBERED
    return MemoryReceipt(found.event_id, done, not done, receipt)

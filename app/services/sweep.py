"""What makes every lost ring harmless: free what the dead held, and ring again for what is due."""

from collections.abc import Mapping
from typing import Protocol

from app.domain.ports import Doorbell
from app.routing import TaskName

_RINGS_AT_ONCE = 64
_ENOUGH_WAITING = 128
_RING_EXPIRES = 20.0
"""Longer than `_ENOUGH_WAITING` rings take to be heard: under load a turn that begins again keeps its place in line."""


class Due(Protocol):
    """One kind of work, as the sweep sees it."""

    def due(self, limit: int) -> list[str]:
        """Keys of what may be claimed now, in its order."""


class SweptLeases(Protocol):
    """The leases of all kinds of work, as the sweep sees them."""

    def end_leases_of_the_dead(self) -> dict[str, int]: ...


def sweep(leases: SweptLeases, owed: Mapping[TaskName, Due], doorbell: Doorbell) -> dict[str, int]:
    """Free the dead's rows, ring each task for what it is due to do, and for drains whose rows were freed; rows freed,
    by kind of work.
    """
    freed = leases.end_leases_of_the_dead()
    for task, work in owed.items():
        _ring_for(task, work, doorbell)
    if freed.get("memory"):
        doorbell.ring(TaskName.SYNC_MEMORIES)
    if freed.get("record"):
        doorbell.ring(TaskName.DRAIN_OUTBOX)
    if freed.get("webhook"):
        doorbell.ring(TaskName.DELIVER_WEBHOOKS)
    return freed


def _ring_for(task: TaskName, work: Due, doorbell: Doorbell) -> None:
    # Rings that nobody hears pile up in Redis: while enough of them wait, more would only delay the others.
    if doorbell.waiting(task) < _ENOUGH_WAITING:
        for key in work.due(_RINGS_AT_ONCE):
            doorbell.ring(task, key, expires=_RING_EXPIRES)

"""What makes every lost ring harmless: free what the dead held, and ring again for what is due."""

from typing import Protocol

from app.domain.ports import Doorbell
from app.routing import TaskName

_RINGS_AT_ONCE = 64
_ENOUGH_WAITING = 128
_RING_EXPIRES = 20.0
"""Longer than `_ENOUGH_WAITING` rings take to be heard: under load a turn that begins again keeps its place in line."""


class SweptTurns(Protocol):
    """The turns, as the sweep sees them."""

    def due(self, limit: int) -> list[str]: ...


class SweptCalls(Protocol):
    """The tool calls, as the sweep sees them."""

    def due(self, limit: int) -> list[str]: ...


class SweptExports(Protocol):
    """The export jobs, as the sweep sees them."""

    def due(self, limit: int) -> list[str]: ...


class SweptLeases(Protocol):
    """The leases of all kinds of work, as the sweep sees them."""

    def end_leases_of_the_dead(self) -> dict[str, int]: ...


def sweep(
    leases: SweptLeases, turns: SweptTurns, calls: SweptCalls, doorbell: Doorbell, *, exports: SweptExports
) -> dict[str, int]:
    """Free the dead's rows, ring for what is due and for drains whose rows were freed; rows freed, by kind of work."""
    freed = leases.end_leases_of_the_dead()
    _ring_for(TaskName.RESPOND, turns, doorbell)
    _ring_for(TaskName.EXECUTE_TOOL, calls, doorbell)
    _ring_for(TaskName.EXPORT, exports, doorbell)
    if freed.get("memory"):
        doorbell.ring(TaskName.SYNC_MEMORIES)
    if freed.get("record"):
        doorbell.ring(TaskName.DRAIN_OUTBOX)
    return freed


def _ring_for(task: TaskName, work: SweptTurns | SweptCalls | SweptExports, doorbell: Doorbell) -> None:
    # Rings that nobody hears pile up in Redis: while enough of them wait, more would only delay the others.
    if doorbell.waiting(task) < _ENOUGH_WAITING:
        for key in work.due(_RINGS_AT_ONCE):
            doorbell.ring(task, key, expires=_RING_EXPIRES)

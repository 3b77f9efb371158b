"""Step 5 of the line: offer SomaBrain every memory whose time has come. The first attempt and every later one."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import chain

from app.domain.backoff import Backoff
from app.domain.errors import BatchRefused, BrainUnavailable, MemoryRefused
from app.domain.events import EventType, live_item
from app.domain.memory import Place, Remembered
from app.domain.ports import Brain, Broadcast, Clock, Doorbell, MemoryOutbox, OwedMemory
from app.domain.ramp import Ramp
from app.routing import TaskName
from app.services.survive import surviving


class Pace:
    """How many memories this process offers at once. Losing it with the process costs a slow first second."""

    def __init__(self, ramp: Ramp) -> None:
        self._ramp = ramp
        self.size = ramp.after(0, None)

    def note(self, offered: int, seconds: float | None) -> None:
        """Learn from one round; None says that it failed, and a round that was not full proves nothing."""
        if seconds is None or offered >= self.size:
            self.size = self._ramp.after(self.size, seconds)


@dataclass(frozen=True, slots=True)
class MemoryPlane:
    """What delivering memories needs. `slice_seconds` bounds one call well below the lease."""

    outbox: MemoryOutbox
    brain: Brain
    doorbell: Doorbell
    broadcast: Broadcast
    clock: Clock
    pace: Pace = field(default_factory=lambda: Pace(Ramp()))
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
    owed = plane.outbox.claim_due(plane.pace.size)
    if not owed:
        return Delivered()
    began = plane.clock.monotonic()
    with surviving(lambda: plane.outbox.survived(owed)):
        delivered = _Round(plane, owed).deliver()
    plane.pace.note(len(owed), None if delivered.retry else plane.clock.monotonic() - began)
    if delivered.ok:
        plane.doorbell.ring(TaskName.DRAIN_OUTBOX)
    if not delivered.retry:
        plane.doorbell.ring(TaskName.SYNC_MEMORIES)
    return delivered


class _Round:
    """One claimed batch on its way to SomaBrain: what is still to offer, what was remembered, what died."""

    def __init__(self, plane: MemoryPlane, owed: list[OwedMemory]) -> None:
        self._plane = plane
        self._offers = deque(_by_place(owed))
        self._remembered: list[tuple[OwedMemory, Remembered]] = []
        self._dead = 0

    def deliver(self) -> Delivered:
        """Offer everything in time, settle what was remembered, give back the rest."""
        until = self._plane.clock.monotonic() + self._plane.slice_seconds
        failure = None
        while self._offers and failure is None and self._plane.clock.monotonic() <= until:
            failure = self._offer(self._offers.popleft())
        left = list(chain.from_iterable(self._offers))
        self._settle()
        if failure is not None:
            self._give_back(left, failure)
        elif left:
            self._plane.outbox.release(left)
        return Delivered(len(self._remembered), len(left) if failure else 0, self._dead)

    def _offer(self, group: list[OwedMemory]) -> BrainUnavailable | None:
        """Why this group and everything behind it has to wait, if it has to."""
        try:
            self._remembered += zip(group, self._ask(group), strict=True)
        except BatchRefused:
            self._offers.extendleft([item] for item in reversed(group))
        except MemoryRefused as error:
            self._plane.outbox.bury(group[0], str(error))
            self._dead += 1
        except BrainUnavailable as error:
            self._offers.appendleft(group)
            return error
        return None

    def _ask(self, group: list[OwedMemory]) -> list[Remembered]:
        if len(group) == 1:
            return [self._plane.brain.remember(group[0].memory)]
        return self._plane.brain.remember_all([item.memory for item in group])

    def _settle(self) -> None:
        kept = set(self._plane.outbox.synced(self._remembered)) if self._remembered else set()
        news: dict[str, dict[str, str]] = defaultdict(dict)
        for owed, _ in self._remembered:
            if owed.memory.event_id in kept and owed.memory.session_id:
                news[owed.memory.session_id][owed.memory.event_id] = "remembered"
        now = self._plane.clock.now()
        for session_id, states in news.items():
            self._plane.broadcast.publish(session_id, live_item(session_id, EventType.MEMORY_STATUS, "", states, now))

    def _give_back(self, owed: list[OwedMemory], error: BrainUnavailable) -> None:
        # A wish to wait is honoured to the second; without one the probe may end the wait early.
        wished = error.retry_after
        pause = wished if wished is not None else self._plane.backoff.pause(owed[0].lease.failures, 0.5)
        self._plane.outbox.postpone(owed, pause, str(error), outage=wished is None)


def _by_place(owed: list[OwedMemory]) -> list[list[OwedMemory]]:
    """One group for each place, because a call to SomaBrain speaks of one."""
    groups: dict[Place, list[OwedMemory]] = defaultdict(list)
    for item in owed:
        groups[item.memory.place].append(item)
    return list(groups.values())

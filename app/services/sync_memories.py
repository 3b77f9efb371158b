"""Step 5 of the line: have SomaBrain remember, or forget, every memory whose time has come. The first attempt and every
later one; a request that wants to know at once makes the same attempt at its own memories.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from app.domain.backoff import Backoff
from app.domain.brain_ports import Brain
from app.domain.errors import BatchRefused, BrainCannotForget, BrainUnavailable, MemoryRefused
from app.domain.events import EventType, live_item
from app.domain.memory import Remembered, by_place
from app.domain.ports import Broadcast, Clock, Doorbell, MemoryOutbox, OwedMemory
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
    """What one round did, in memories; `remembered` and `forgotten` are those that SomaBrain said yes to."""

    retry: int = 0
    dead: int = 0
    remembered: Mapping[str, Remembered] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()

    @property
    def ok(self) -> int:
        """How many SomaBrain said yes to."""
        return len(self.remembered) + len(self.forgotten)


def sync_due_memories(plane: MemoryPlane) -> Delivered:
    """Attempt due memories once; a failure only moves their due time, for as long as the outage lasts."""
    if plane.brain.breaker_open:
        return Delivered()
    owed = plane.outbox.claim_due(plane.pace.size)
    began = plane.clock.monotonic()
    delivered = _deliver(plane, owed)
    if owed:
        plane.pace.note(len(owed), None if delivered.retry else plane.clock.monotonic() - began)
        if not delivered.retry:
            plane.doorbell.ring(TaskName.SYNC_MEMORIES)
    return delivered


def sync_these(plane: MemoryPlane, event_ids: Sequence[str]) -> Delivered:
    """Attempt these memories once, where they are due and nobody else has them in hand."""
    if plane.brain.breaker_open or not event_ids:
        return Delivered()
    return _deliver(plane, plane.outbox.claim_these(event_ids))


def _deliver(plane: MemoryPlane, owed: list[OwedMemory]) -> Delivered:
    if not owed:
        return Delivered()
    with surviving(lambda: plane.outbox.survived(owed)):
        delivered = _Round(plane, owed).deliver()
    if delivered.ok:
        plane.doorbell.ring(TaskName.DRAIN_OUTBOX)
    return delivered


class _Round:
    """One claimed batch on its way to SomaBrain: what is still to offer, what was taken, what died."""

    def __init__(self, plane: MemoryPlane, owed: list[OwedMemory]) -> None:
        self._plane = plane
        self._offers = deque(_by_call(owed))
        self._remembered: list[tuple[OwedMemory, Remembered]] = []
        self._forgotten: set[str] = set()
        self._later = self._dead = 0

    def deliver(self) -> Delivered:
        """Offer everything in time, settle what was remembered, give back the rest."""
        until = self._plane.clock.monotonic() + self._plane.slice_seconds
        failure = None
        while self._offers and failure is None and self._plane.clock.monotonic() <= until:
            failure = self._offer(self._offers.popleft())
        left = list(chain.from_iterable(self._offers))
        kept = self._settle()
        if failure is not None:
            self._give_back(left, failure, outage=True)
        elif left:
            self._plane.outbox.release(left)
        return Delivered(self._later, self._dead, kept, frozenset(self._forgotten))

    def _offer(self, group: list[OwedMemory]) -> BrainUnavailable | None:
        """Why this group and everything behind it has to wait, if it has to."""
        try:
            self._ask(group)
        except BatchRefused:
            self._offers.extendleft([item] for item in reversed(group))
        except MemoryRefused as error:
            self._plane.outbox.bury(group[0], str(error))
            self._dead += 1
        except BrainCannotForget as error:
            self._give_back(group, error, outage=False)
        except BrainUnavailable as error:
            self._offers.appendleft(group)
            return error
        return None

    def _ask(self, group: list[OwedMemory]) -> None:
        if group[0].forget:
            self._forget(group[0])
        elif len(group) == 1:
            self._remembered.append((group[0], self._plane.brain.remember(group[0].memory)))
        else:
            receipts = self._plane.brain.remember_all([item.memory for item in group])
            self._remembered += zip(group, receipts, strict=True)

    def _forget(self, owed: OwedMemory) -> None:
        memory = owed.memory
        request_id = f"{memory.event_id}:{memory.version}"
        self._plane.brain.forget(
            memory.event_id,
            memory.place,
            request_id,
            traceparent=memory.traceparent,
            idempotency_key=memory.idempotency_key,
        )
        if self._plane.outbox.forgotten(owed):
            self._forgotten.add(memory.event_id)

    def _settle(self) -> dict[str, Remembered]:
        kept = set(self._plane.outbox.synced(self._remembered)) if self._remembered else set()
        ours = [(owed.memory, receipt) for owed, receipt in self._remembered if owed.memory.event_id in kept]
        news: dict[str, dict[str, str]] = defaultdict(dict)
        for memory, _ in ours:
            if memory.session_id:
                news[memory.session_id][memory.event_id] = "remembered"
        now = self._plane.clock.now()
        for session_id, states in news.items():
            self._plane.broadcast.publish(session_id, live_item(session_id, EventType.MEMORY_STATUS, "", states, now))
        return {memory.event_id: receipt for memory, receipt in ours}

    def _give_back(self, owed: list[OwedMemory], error: BrainUnavailable, outage: bool) -> None:
        # A wish to wait is honoured to the second; without one the probe may end the wait for an outage early.
        wished = error.retry_after
        pause = wished if wished is not None else self._plane.backoff.pause(owed[0].lease.failures, 0.5)
        self._plane.outbox.postpone(owed, pause, str(error), outage=outage and wished is None)
        self._later += len(owed)


def _by_call(owed: list[OwedMemory]) -> list[list[OwedMemory]]:
    """One group for each call to SomaBrain: each forgetting alone, what is to be remembered by its place."""
    remember = by_place((item for item in owed if not item.forget), lambda item: item.memory.place)
    return [[item] for item in owed if item.forget] + remember

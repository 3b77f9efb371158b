"""`brain.rebuild`: after the replica was rebuilt from the log, its memories into an (empty) SomaBrain.

From the rows and not from the log once more: they are the newest version of each memory, already without what was
forgotten, so nothing is remembered that would have to be forgotten again, in memory that does not grow with the log.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from app.domain.brain_ports import Brain
from app.domain.errors import BatchRefused, BrainCannotForget, LeaseLost, MemoryRefused
from app.domain.memory import Memory, by_place
from app.domain.ports import Clock
from app.domain.rebuild import MemoryPage, Rebuild, RebuildState, RebuiltMemories


@dataclass(frozen=True, slots=True)
class Remembering:
    """What remembering anew needs; `alone` keeps a process from doing the same stretch twice at once."""

    memories: RebuiltMemories
    brain: Brain
    clock: Clock
    slice_seconds: float = 5.0
    batch: int = 100
    stopping: Callable[[], bool] = lambda: False
    alone: Lock = field(default_factory=Lock)


def remember_slice(remembering: Remembering) -> bool:
    """Remember for one slice of time; whether there is more to do. A stretch that is repeated changes nothing."""
    rebuild = remembering.memories.current()
    if rebuild is None or rebuild.state is not RebuildState.REMEMBERING or remembering.brain.breaker_open:
        return False
    with _if_free(remembering.alone) as ours:
        return ours and not _remembered_all(rebuild, remembering)


@contextmanager
def _if_free(lock: Lock) -> Iterator[bool]:
    ours = lock.acquire(blocking=False)
    try:
        yield ours
    finally:
        if ours:
            lock.release()


def _remembered_all(rebuild: Rebuild, remembering: Remembering) -> bool:
    end = remembering.clock.monotonic() + remembering.slice_seconds
    try:
        while remembering.clock.monotonic() < end and not remembering.stopping():
            page = remembering.memories.page(rebuild, remembering.batch)
            rebuild = _remember(rebuild, page, remembering)
            # Rows that come after this one were remembered on their own way: under load there is always one more.
            if page.last:
                remembering.memories.complete(rebuild)
                return True
    except LeaseLost:
        # Another process works on the same rebuild, or somebody has ended it: the next look tells.
        return False
    return False


def _remember(rebuild: Rebuild, page: MemoryPage, remembering: Remembering) -> Rebuild:
    refused: list[str] = []
    for memories in by_place(page.memories, lambda memory: memory.place):
        refused += _offer(memories, remembering.brain)
    remembered = len(page.memories) - len(refused)
    # What was forgotten meanwhile may have been forgotten before our call kept it again.
    for memory in remembering.memories.forgotten_since(rebuild, page):
        refused += _forget(memory, remembering.brain)
    return remembering.memories.passed(rebuild, page, remembered, refused)


def _offer(memories: Sequence[Memory], brain: Brain) -> list[str]:
    """The reasons of those that SomaBrain refused."""
    try:
        if len(memories) > 1:
            brain.remember_all(memories)
            return []
    except BatchRefused:
        pass
    return [reason for memory in memories if (reason := _offer_one(memory, brain))]


def _offer_one(memory: Memory, brain: Brain) -> str:
    try:
        brain.remember(memory)
    except MemoryRefused as error:
        return f"{memory.event_id}: {error}"
    return ""


def _forget(memory: Memory, brain: Brain) -> list[str]:
    try:
        brain.forget(memory.event_id, memory.place, f"{memory.event_id}:{memory.version}")
    except (MemoryRefused, BrainCannotForget) as error:
        return [f"{memory.event_id}: {error}"]
    return []

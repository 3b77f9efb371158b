"""The replica's memories into an empty SomaBrain: each once, none that is forgotten, whatever breaks in between."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from app.domain.audit import Actor, AuditEntry
from app.domain.errors import BrainUnavailable, MemoryRefused
from app.domain.log import WalBatch, WalPartition
from app.domain.memory import Memory, Remembered
from app.domain.rebuild import Rebuild, RebuildKind, RebuildState
from app.domain.wal import ReplicaRow, parse_all
from app.services.rebuild_brain import Remembering, remember_slice
from tests.builders import NOW, a_batch, an_id, wal_bytes
from tests.fakes import InMemoryBrain, InMemoryReplica
from tests.fakes_rebuild import InMemoryRebuilds

ENTRY = AuditEntry(Actor("tester", "r-1"), "rebuild.start", "brain")
PARTITION = WalPartition("memory.wal", 0)


class Stage:
    """A rebuilt replica, and an empty brain."""

    def __init__(self, *values: bytes, brain: InMemoryBrain | None = None) -> None:
        self.replica = InMemoryReplica()
        self.rebuilds = InMemoryRebuilds(self.replica)
        self.brain = brain or InMemoryBrain()
        self.remembering = Remembering(self.rebuilds, self.brain, self.replica.clock, 1.0, 2)
        self._length = 0
        self.write(*values)
        self.id = self.rebuilds.start(RebuildKind.BRAIN, ENTRY)[0].id
        self.rebuilds.begin(self.id)
        batch, good = self._batch(0, *values)
        self.rebuilds.store(self.state, batch, good, len(values))
        assert self.rebuilds.switch(self.state, lambda _places, _until: ())

    def _batch(self, generation: int, *values: bytes) -> tuple[WalBatch, list[ReplicaRow]]:
        batch = a_batch(PARTITION, self._length if generation else 0, *values, generation=generation)
        return batch, parse_all([(each.offset, each.value) for each in batch.records], NOW.timestamp())[0]

    def write(self, *values: bytes) -> None:
        batch, good = self._batch(self.replica.take(PARTITION).generation, *values)
        self.replica.store(batch, good, [])
        self._length += len(values)

    @property
    def state(self) -> Rebuild:
        return self.rebuilds.rebuilds[self.id]

    @property
    def kept(self) -> set[str]:
        return {event_id for _, event_id in self.brain.kept}


def a_word(event_id: str, **fields: object) -> bytes:
    return wal_bytes(event_id, **{"payload": {"id": event_id, "content": "hi", "idempotency_key": event_id}, **fields})


def test_every_memory_is_remembered_with_its_own_key_and_what_is_forgotten_is_not() -> None:
    ids = [an_id() for _ in range(5)]
    forgotten = a_word(ids[1], type="memory.delete", version=2, payload=None)
    stage = Stage(*map(a_word, ids), forgotten, a_word("m-t2", tenant="t2"))

    assert not remember_slice(stage.remembering)

    assert stage.kept == {*ids, "m-t2"} - {ids[1]}
    assert {kept.idempotency_key for kept in stage.brain.kept.values()} == stage.kept
    assert (stage.state.state, stage.state.remembered, stage.state.refused) == (RebuildState.COMPLETED, 5, 0)
    assert {place.tenant for place, _ in stage.brain.kept} == {"t1", "t2"}


def test_an_outage_ends_the_slice_and_the_next_one_goes_on_without_doubling() -> None:
    stage = Stage(*(a_word(an_id()) for _ in range(6)))
    stage.brain.down = True
    with pytest.raises(BrainUnavailable):
        remember_slice(stage.remembering)
    assert stage.state.remembered == 0
    stage.brain.down = False

    assert not remember_slice(stage.remembering)

    assert len(stage.kept) == 6
    assert all(kept.writes == 1 for kept in stage.brain.kept.values())


def test_while_the_breaker_is_open_nothing_is_asked() -> None:
    stage = Stage(a_word(an_id()))
    stage.brain.breaker_open = True

    assert not remember_slice(stage.remembering)

    assert (stage.brain.offers, stage.state.state) == (0, RebuildState.REMEMBERING)


def test_a_stretch_whose_end_was_not_noted_is_repeated_without_harm() -> None:
    stage = Stage(*(a_word(an_id()) for _ in range(4)))
    before = stage.state
    remember_slice(replace(stage.remembering, slice_seconds=0.5, stopping=_after(1)))
    stage.rebuilds.rebuilds[stage.id] = before

    remember_slice(stage.remembering)

    assert len(stage.kept) == 4
    assert all(kept.writes == 1 for kept in stage.brain.kept.values())


def _after(looks: int) -> Callable[[], bool]:
    left = iter(range(looks))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("batches", [True, False])
def test_one_that_is_refused_spoils_no_other_and_is_told(batches: bool) -> None:
    stage = Stage(a_word("m-1"), a_word("m-2"), a_word("m-3"), brain=Choosy(takes_batches=batches))

    remember_slice(stage.remembering)

    assert stage.kept == {"m-1", "m-3"}
    assert (stage.state.remembered, stage.state.refused) == (2, 1)
    assert str(stage.state.error) == "m-2: it is wrong"


class Choosy(InMemoryBrain):
    """Does not like m-2."""

    def remember(self, memory: Memory) -> Remembered:
        if memory.event_id == "m-2":
            raise MemoryRefused("it is wrong")
        return super().remember(memory)


def test_what_is_forgotten_while_it_is_remembered_is_forgotten_again() -> None:
    stage = Stage(a_word("m-1"), a_word("m-2"), brain=Overtaken())
    assert isinstance(stage.brain, Overtaken)
    stage.brain.meanwhile = lambda: stage.write(a_word("m-1", type="memory.delete", version=2, payload=None))

    remember_slice(stage.remembering)

    assert stage.kept == {"m-2"}


class Overtaken(InMemoryBrain):
    """Something happens between its call and our looking at the answer."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def remember_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        receipts = super().remember_all(memories)
        self.meanwhile()
        return receipts


def test_memories_that_keep_coming_do_not_keep_it_from_ending() -> None:
    stage = Stage(a_word("m-1"), a_word("m-2"), a_word("m-3"), brain=Overtaken())
    stage.remembering = replace(stage.remembering, batch=10)
    assert isinstance(stage.brain, Overtaken)
    stage.brain.meanwhile = lambda: stage.write(a_word(an_id()))

    assert not remember_slice(stage.remembering)

    assert stage.state.state is RebuildState.COMPLETED
    assert stage.kept == {"m-1", "m-2", "m-3"}


def test_a_rebuild_that_somebody_cancels_stops() -> None:
    stage = Stage(*(a_word(an_id()) for _ in range(4)), brain=Overtaken())
    assert isinstance(stage.brain, Overtaken)
    stage.brain.meanwhile = lambda: stage.rebuilds.cancel(stage.id, ENTRY)

    assert remember_slice(stage.remembering)

    assert len(stage.kept) == 2
    assert not remember_slice(stage.remembering)


def test_a_second_slice_in_the_same_process_leaves_the_first_one_alone() -> None:
    stage = Stage(a_word(an_id()))
    with stage.remembering.alone:
        assert not remember_slice(stage.remembering)

    assert stage.brain.offers == 0

"""What every `Ledger` promises: a memory is accepted once, whoever repeats it changes nothing, and what is forgotten
stays forgotten, whatever was under way.
"""

from collections.abc import Iterable

import pytest

from app.domain.errors import KeyReused
from app.domain.ledger import Acceptance, Standing
from app.domain.memory import Memory, Place
from app.domain.ports import OwedMemory
from tests.builders import a_key, a_memory, a_receipt
from tests.contracts.store_rig import CALL_SECONDS, TOPIC, Process, StoreRig


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


@pytest.fixture
def other(store: StoreRig) -> Process:
    return store.process()


def standings(accepted: Iterable[Acceptance]) -> list[Standing]:
    return [each.standing for each in accepted]


def accepted(store: StoreRig, memory: Memory | None = None) -> Memory:
    """One memory that the store has accepted just now."""
    offered = memory or a_memory()
    assert standings(store.ledger.accept([offered]).memories) == [Standing.NEW]
    return offered


def remembered(store: StoreRig, worker: Process) -> Memory:
    """One memory that SomaBrain has."""
    memory = accepted(store)
    assert worker.memories.synced([(item, a_receipt()) for item in worker.memories.claim_due(10)]) == [memory.event_id]
    return memory


def forgotten_by(worker: Process, memory: Memory) -> bool:
    (owed,) = worker.memories.claim_these([memory.event_id])
    assert owed.forget
    return worker.memories.forgotten(owed)


def contents(claimed: Iterable[OwedMemory]) -> list[object]:
    return [item.memory.payload.get("content") for item in claimed]


def test_what_is_new_is_kept_and_owed_in_its_order(store: StoreRig, worker: Process) -> None:
    offered = [a_memory("one"), a_memory("two")]

    found = store.ledger.accept(offered).memories

    assert [each.event_id for each in found] == [memory.event_id for memory in offered]
    assert standings(found) == [Standing.NEW, Standing.NEW]
    assert sorted(map(str, contents(worker.memories.claim_due(10)))) == ["one", "two"]


def test_whoever_repeats_a_memory_is_told_how_far_it_is(store: StoreRig, worker: Process) -> None:
    memory = accepted(store)
    assert standings(store.ledger.accept([memory]).memories) == [Standing.WAITING]

    worker.memories.synced([(item, a_receipt()) for item in worker.memories.claim_due(10)])

    assert standings(store.ledger.accept([memory]).memories) == [Standing.REMEMBERED]
    assert not worker.memories.claim_due(10)


def test_an_id_keeps_what_it_first_said(store: StoreRig, worker: Process) -> None:
    memory = accepted(store, a_memory("the first"))

    (found,) = store.ledger.accept([a_memory("another", event_id=memory.event_id)]).memories

    assert found.standing is Standing.OTHER_CONTENT
    assert "new id" in found.reason
    assert contents(worker.memories.claim_due(10)) == ["the first"]


def test_another_tenants_id_cannot_be_used_and_tells_nothing(store: StoreRig) -> None:
    memory = accepted(store)

    (found,) = store.ledger.accept([a_memory(event_id=memory.event_id, place=Place("t2", "wm", "u-1"))]).memories

    assert found.standing is Standing.TAKEN
    assert "t1" not in found.reason


def test_of_two_under_one_id_in_one_offer_the_first_counts(store: StoreRig, worker: Process) -> None:
    memory = a_memory("the first")
    other_words = a_memory("another", event_id=memory.event_id)

    found = store.ledger.accept([memory, memory, other_words]).memories

    assert standings(found) == [Standing.NEW, Standing.WAITING, Standing.OTHER_CONTENT]
    assert contents(worker.memories.claim_due(10)) == ["the first"]


def test_a_dead_memory_says_why(store: StoreRig, worker: Process) -> None:
    memory = accepted(store)
    worker.memories.bury(worker.memories.claim_due(10)[0], "SomaBrain says 422")

    (found,) = store.ledger.accept([memory]).memories

    assert found.standing is Standing.DEAD
    assert "422" in found.reason


def test_a_repeated_key_keeps_nothing_new_and_says_so(store: StoreRig, worker: Process) -> None:
    memory, key = a_memory(), a_key()
    assert not store.ledger.accept([memory], key).replayed

    again = store.ledger.accept([memory], key)

    assert again.replayed
    assert standings(again.memories) == [Standing.WAITING]
    with pytest.raises(KeyReused):
        store.ledger.accept([a_memory()], a_key(key.key, digest="d2"))
    assert len(worker.memories.claim_due(10)) == 1


def test_a_forgetting_is_owed_to_somabrain_and_to_the_log(store: StoreRig, worker: Process) -> None:
    memory = remembered(store, worker)

    forgetting = store.ledger.forget(memory.event_id, "t1")

    assert forgetting is not None
    assert not forgetting.done
    ((state, record, _),) = store.records_of(TOPIC, f"{memory.event_id}:2")
    assert (state, record["type"], record["version"], record["payload"]) == ("pending", "memory.delete", 2, {})
    (owed,) = worker.memories.claim_due(10)
    assert (owed.forget, owed.memory.event_id, owed.memory.place) == (True, memory.event_id, memory.place)
    assert not owed.memory.payload


def test_a_forgetting_is_done_once_somabrain_did_it(store: StoreRig, worker: Process) -> None:
    memory = remembered(store, worker)
    store.ledger.forget(memory.event_id, "t1")

    assert forgotten_by(worker, memory)

    again = store.ledger.forget(memory.event_id, "t1")
    assert again is not None
    assert again.done
    assert not worker.memories.claim_due(10)
    assert len(store.records_of(TOPIC, f"{memory.event_id}:2")) == 1


def test_only_its_tenant_can_have_a_memory_forgotten(store: StoreRig) -> None:
    memory = accepted(store)

    assert store.ledger.forget(memory.event_id, "t2") is None
    assert store.ledger.forget("nobody-has-this", "t1") is None
    assert not store.ledger.entries([memory.event_id])[memory.event_id].forgotten


def test_a_forgotten_memory_cannot_be_brought_back_under_its_id(store: StoreRig, worker: Process) -> None:
    memory = remembered(store, worker)
    store.ledger.forget(memory.event_id, "t1")

    (found,) = store.ledger.accept([memory]).memories

    assert found.standing is Standing.FORGOTTEN
    assert "new id" in found.reason


def test_what_waits_to_be_remembered_is_only_forgotten(store: StoreRig, worker: Process) -> None:
    memory = accepted(store)
    store.ledger.forget(memory.event_id, "t1")

    (owed,) = worker.memories.claim_due(10)

    assert owed.forget
    assert not store.records_of(TOPIC, f"{memory.event_id}:1")


def test_a_dead_memory_can_be_forgotten(store: StoreRig, worker: Process) -> None:
    memory = accepted(store)
    worker.memories.bury(worker.memories.claim_due(10)[0], "SomaBrain says 422")

    store.ledger.forget(memory.event_id, "t1")

    assert forgotten_by(worker, memory)


def test_a_forgetting_waits_for_a_call_that_may_be_under_way(store: StoreRig, worker: Process, other: Process) -> None:
    memory = accepted(store)
    late = worker.memories.claim_due(10)
    store.ledger.forget(memory.event_id, "t1")

    assert not other.memories.claim_due(10)
    assert worker.memories.synced([(late[0], a_receipt())]) == [], "its claim was lost to the forgetting"
    assert not store.records_of(TOPIC, f"{memory.event_id}:1")

    store.pass_time(CALL_SECONDS + 1)

    assert forgotten_by(other, memory)


def test_what_was_remembered_after_its_forgetting_is_forgotten_again(
    store: StoreRig, worker: Process, other: Process
) -> None:
    memory = accepted(store)
    frozen = worker.memories.claim_due(10)
    store.ledger.forget(memory.event_id, "t1")
    store.pass_time(CALL_SECONDS + 1)
    assert forgotten_by(other, memory)

    assert worker.memories.synced([(frozen[0], a_receipt())]) == []

    assert forgotten_by(other, memory), "what the late call has written has to go, too"


def test_only_these_are_claimed(store: StoreRig, worker: Process) -> None:
    wanted, _ = accepted(store, a_memory("wanted")), accepted(store, a_memory("left"))

    assert contents(worker.memories.claim_these([wanted.event_id])) == ["wanted"]
    assert not worker.memories.claim_these([wanted.event_id])
    assert not worker.memories.claim_these([])


def test_the_ledger_tells_what_was_ever_accepted(store: StoreRig, worker: Process) -> None:
    memory = remembered(store, worker)
    store.ledger.forget(memory.event_id, "t1")

    entries = store.ledger.entries([memory.event_id, "nobody-has-this"])

    assert set(entries) == {memory.event_id}
    entry = entries[memory.event_id]
    assert (entry.tenant, entry.role, entry.session_id, entry.forgotten) == ("t1", "user", memory.session_id, True)

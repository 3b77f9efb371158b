"""The sweep makes every lost ring harmless, and does not ring where nobody listens."""

from app.routing import TaskName
from app.services.sweep import sweep
from tests.builders import a_message, a_record
from tests.fakes import InMemoryStore, RecordingDoorbell, Ring


def test_what_the_dead_held_is_free_and_rung_for() -> None:
    store, bell = InMemoryStore(), RecordingDoorbell()
    message = a_message()
    store.inbox().accept(message, None)
    store.owe_records([a_record()])
    dead = store.presence("dead")
    dead.start()
    store.turns(dead).claim(message.event_id)
    store.memory_outbox("dead").claim_due(10)
    store.message_outbox("dead").claim_due(10)
    dead.stop()

    freed = sweep(store, store.turns(store.presence("sweeper")), bell)

    assert freed == {"turn": 1, "memory": 1, "record": 1}
    assert [ring.task for ring in bell.rings] == [TaskName.RESPOND, TaskName.SYNC_MEMORIES, TaskName.DRAIN_OUTBOX]
    assert bell.rings[0].ids == (message.event_id,)


def test_a_ring_of_the_sweep_expires_but_not_before_a_full_line_is_heard() -> None:
    store, bell = InMemoryStore(), RecordingDoorbell()
    message = a_message()
    store.inbox().accept(message, None)

    sweep(store, store.turns(store.presence("sweeper")), bell)

    assert bell.rings == [Ring(TaskName.RESPOND, (message.event_id,), 20.0)]


def test_nothing_due_is_no_ring() -> None:
    store, bell = InMemoryStore(), RecordingDoorbell()

    assert sweep(store, store.turns(store.presence("sweeper")), bell) == {"turn": 0, "memory": 0, "record": 0}
    assert not bell.rings


def test_a_pile_of_unheard_rings_does_not_grow() -> None:
    store, bell = InMemoryStore(), RecordingDoorbell(unheard=1000)
    store.inbox().accept(a_message(), None)

    sweep(store, store.turns(store.presence("sweeper")), bell)

    assert not bell.rings

"""What every `StreamStore` promises to a stream: the durable line, the running text, how far memories are."""

import pytest

from tests.builders import a_final, a_message, a_receipt, a_thought, an_id
from tests.contracts.store_rig import Process, StoreRig


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


def test_an_unknown_session_has_nothing(store: StoreRig) -> None:
    nobody = an_id("s-")

    assert store.stream.tenant_of(nobody) is None
    assert store.stream.head(nobody) == 0
    assert store.stream.events_after(nobody, 0, 10) == []
    assert store.stream.partial(nobody) is None
    assert store.stream.memory_states(nobody) == {}


def test_events_come_after_the_cursor_in_order_and_in_pages(store: StoreRig) -> None:
    session_id = an_id("s-")
    for number in range(3):
        store.inbox.accept(a_message(f"m{number}", session_id), None)

    assert store.stream.tenant_of(session_id) == a_message().tenant
    assert store.stream.head(session_id) == 6
    assert [event["seq"] for event in store.stream.events_after(session_id, 0, 4)] == [1, 2, 3, 4]
    assert [event["seq"] for event in store.stream.events_after(session_id, 4, 4)] == [5, 6]
    assert store.stream.events_after(session_id, 6, 4) == []


def test_an_event_is_an_envelope(store: StoreRig) -> None:
    message = a_message("hello", persona_id="p-1")
    store.inbox.accept(message, None)

    event = store.stream.events_after(message.session_id, 0, 1)[0]

    assert set(event) == {
        "event_id", "session_id", "persona_id", "role", "message", "metadata", "version", "type", "seq", "cursor",
        "created_at",
    }  # fmt: skip
    assert (event["version"], event["type"], event["cursor"]) == ("sa01-v2", "user", "1")


def test_a_running_text_without_words_is_none(store: StoreRig, worker: Process) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    worker.turns.note(turn, a_thought(message.event_id))

    assert store.stream.partial(message.session_id) is None


def test_the_running_text_is_the_latest_attempts(store: StoreRig, worker: Process) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    for attempt in (1, 2):
        turn = worker.turns.claim(message.event_id)
        assert turn is not None
        begun = worker.turns.note(turn, a_thought(message.event_id, attempt))
        worker.turns.save_partials([(turn, f"text {attempt}")])
        if attempt == 1:
            worker.turns.postpone(turn, 0, "broke off")
            assert store.stream.partial(message.session_id) is None

    partial = store.stream.partial(message.session_id)

    assert partial is not None
    assert (partial.after, partial.attempt, partial.offset, partial.text) == (begun.seq, 2, 0, "text 2")


def test_memories_move_from_accepted_to_replicated(store: StoreRig, worker: Process) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    states = [store.stream.memory_states(message.session_id)]
    (item,) = worker.memories.claim_due(10)
    worker.memories.synced([(item, a_receipt())])
    states.append(store.stream.memory_states(message.session_id))
    store.replicate(message.event_id)
    states.append(store.stream.memory_states(message.session_id))

    assert states == [{message.event_id: word} for word in ("accepted", "remembered", "replicated")]


def test_a_refused_memory_says_so(store: StoreRig, worker: Process) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    worker.memories.bury(worker.memories.claim_due(10)[0], "422")

    assert store.stream.memory_states(message.session_id) == {message.event_id: "refused"}


def test_an_answer_has_a_memory_state_too(store: StoreRig, worker: Process) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    place = worker.memories.claim_due(10)[0].memory.place
    worker.turns.finish(turn, a_final(message.event_id), "done", place)

    assert store.stream.memory_states(message.session_id) == {
        message.event_id: "accepted",
        f"{message.event_id}:answer": "accepted",
    }

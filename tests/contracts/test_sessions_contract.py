"""What every `Sessions` promises: held, named, begun anew and gone as a whole."""

import pytest

from app.domain.errors import LeaseLost
from app.domain.transcript import Summary
from tests.builders import a_final, a_message, an_id
from tests.contracts.store_rig import Process, StoreRig


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


def asked(store: StoreRig, text: str = "hello", session_id: str = "") -> tuple[str, str]:
    message = a_message(text, session_id)
    store.inbox.accept(message, None)
    return message.session_id, message.event_id


def test_there_is_nothing_to_do_to_a_session_that_there_is_not(store: StoreRig) -> None:
    nobody = an_id("s-")

    assert not store.sessions.pause(nobody, True)
    assert not store.sessions.rename(nobody, "a name")
    assert not store.sessions.reset(nobody)
    assert not store.sessions.delete(nobody)


def test_a_session_that_is_held_takes_messages_and_begins_none(store: StoreRig, worker: Process) -> None:
    session_id, first = asked(store)

    assert store.sessions.pause(session_id, True)

    _, second = asked(store, session_id=session_id)
    assert worker.turns.claim(first) is None
    assert first not in worker.turns.due(100)
    assert store.sessions.pause(session_id, False)
    assert store.sessions.next_due(session_id) == first
    assert worker.turns.claim(first) is not None
    assert store.sessions.next_due(session_id) == second


def test_after_a_reset_no_turn_hears_of_what_was_said_and_people_still_see_it(store: StoreRig, worker: Process) -> None:
    session_id, first = asked(store, "before")
    running = worker.turns.claim(first)
    assert running is not None
    _, waiting = asked(store, "waiting", session_id)
    store.transcripts.keep_summary(session_id, Summary("long ago", 1, (), "m"))

    assert store.sessions.reset(session_id)

    assert set(worker.turns.asked_to_stop([first])) == {first}
    worker.turns.finish(running, a_final(first), "done", None)
    assert worker.turns.claim(waiting) is None
    asked(store, "after", session_id)
    assert [line.text for line in store.transcripts.newest(session_id, 2**62, 9)] == ["after"]
    assert store.transcripts.summary(session_id, 2**62) is None
    assert store.types(session_id).count("user") == 3


def test_a_deleted_session_is_gone_and_whoever_answers_in_it_has_lost_it(store: StoreRig, worker: Process) -> None:
    session_id, first = asked(store)
    running = worker.turns.claim(first)
    assert running is not None

    assert store.sessions.delete(session_id)

    assert store.stream.tenant_of(session_id) is None
    assert store.types(session_id) == []
    with pytest.raises(LeaseLost):
        worker.turns.finish(running, a_final(first), "done", None)
    assert store.row("memory", first).state == "pending"
    assert not store.sessions.delete(session_id)

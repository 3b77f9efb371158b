"""What every `TurnBook` promises to those who come back for an answer."""

from datetime import datetime

from app.domain.dialogue import Utterance
from app.domain.turn_request import TurnRequest
from tests.builders import a_final, a_message, an_id
from tests.contracts.store_rig import Process, StoreRig


def answered(store: StoreRig, worker: Process, text: str, session_id: str) -> str:
    message = a_message(text, session_id)
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    worker.turns.finish(turn, a_final(message.event_id, f"{text}!"), "done", None)
    return message.event_id


def test_what_was_never_accepted_is_not_found(store: StoreRig) -> None:
    assert store.book.find(an_id()) is None


def test_a_turn_is_found_with_everything_that_was_asked_for(store: StoreRig) -> None:
    request = TurnRequest(
        lines=(Utterance("user", "hi"),), instructions="Be kind.", options={"seed": 7}, echo={"model": "default"}
    )
    message = a_message("hi", metadata={"a": "b"}, request=request)
    store.inbox.accept(message, None)

    found = store.book.find(message.event_id)

    assert found is not None
    assert (found.event_id, found.session_id, found.seq) == (message.event_id, message.session_id, 1)
    assert (found.tenant, found.state, found.metadata, found.end) == ("t1", "queued", {"a": "b"}, None)
    assert found.request == request
    assert isinstance(found.created_at, datetime)


def test_a_turn_that_is_over_has_its_end(store: StoreRig) -> None:
    event_id = answered(store, store.process(), "one", an_id("s-"))

    found = store.book.find(event_id)

    assert found is not None
    assert found.end is not None
    assert (found.state, found.end["type"], found.end["message"]) == ("done", "assistant.final", "one!")

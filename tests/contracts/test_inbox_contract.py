"""What every `Inbox` promises: kept whole or not at all, once, in its place in the session's line."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.domain.errors import Conflict, KeyReused, NotFound, Rejected
from app.domain.terms import Terms, WhileBusy
from tests.builders import a_final, a_key, a_message, an_id
from tests.contracts.store_rig import Process, StoreRig


def test_an_accepted_message_is_an_event_a_turn_and_a_memory(store: StoreRig) -> None:
    message = a_message("hello", metadata={"universe_id": "u-1", "n": 1})

    receipt, events = store.inbox.accept(message, None)

    assert (receipt.session_id, receipt.event_id, receipt.replayed) == (message.session_id, message.event_id, False)
    assert [(event.seq, event.type.value, event.turn_seq) for event in events] == [
        (1, "user", 1),
        (2, "assistant.started", 1),
    ]
    assert store.types(message.session_id) == ["user", "assistant.started"]
    assert store.row("turn", message.event_id).state == "queued"
    assert store.row("memory", message.event_id).state == "pending"


def test_what_the_inbox_shows_is_what_the_stream_reads_later(store: StoreRig) -> None:
    message = a_message("héllo \U0001f600", persona_id="p-1", metadata={"mood": "good", "deep": None})

    store.inbox.accept(message, None)

    first, second = store.stream.events_after(message.session_id, 0, 10)
    assert first["message"] == "héllo \U0001f600"
    assert first["metadata"] == {"mood": "good", "deep": None}
    assert (first["cursor"], first["persona_id"], first["role"]) == ("1", "p-1", "user")
    assert (second["message"], second["metadata"]) == ("", {"status": "started"})


def test_a_session_that_is_not_named_by_its_tenant_keeps_its_own(store: StoreRig) -> None:
    first = a_message(tenant="a", tenant_named=True)
    store.inbox.accept(first, None)

    _, events = store.inbox.accept(a_message(session_id=first.session_id, tenant="public"), None)

    assert events[0].tenant == "a"


def test_a_session_of_another_tenant_does_not_exist(store: StoreRig) -> None:
    first = a_message(tenant="a", tenant_named=True)
    store.inbox.accept(first, None)
    key = a_key()

    with pytest.raises(NotFound):
        store.inbox.accept(a_message(session_id=first.session_id, tenant="b", tenant_named=True), key)

    assert store.types(first.session_id) == ["user", "assistant.started"]
    again, _ = store.inbox.accept(a_message(), key)
    assert not again.replayed, "a refused message must not use up its key"


def test_a_persona_stays_until_another_one_is_named(store: StoreRig) -> None:
    first = a_message(persona_id="p-1")
    store.inbox.accept(first, None)

    _, silent = store.inbox.accept(a_message(session_id=first.session_id), None)
    _, other = store.inbox.accept(a_message(session_id=first.session_id, persona_id="p-2"), None)

    assert (silent[0].persona_id, other[0].persona_id) == ("p-1", "p-2")


def test_text_that_cannot_be_stored_is_refused_and_nothing_is_kept(store: StoreRig) -> None:
    message = a_message("a\x00b")

    with pytest.raises((Rejected, ValueError)):
        store.inbox.accept(message, None)

    assert store.stream.tenant_of(message.session_id) is None


def test_the_same_key_and_body_give_the_first_receipt_and_one_row(store: StoreRig) -> None:
    key, session_id = a_key(), an_id("s-")
    first, _ = store.inbox.accept(a_message(session_id=session_id), key)

    second, events = store.inbox.accept(a_message(session_id=session_id), key)

    assert second == replace(first, replayed=True)
    assert not events
    assert store.types(session_id) == ["user", "assistant.started"]


def test_the_same_key_with_another_body_is_refused(store: StoreRig) -> None:
    key, session_id = a_key(digest="one"), an_id("s-")
    store.inbox.accept(a_message(session_id=session_id), key)

    with pytest.raises(KeyReused):
        store.inbox.accept(a_message(session_id=session_id), replace(key, body_digest="two"))

    assert store.types(session_id) == ["user", "assistant.started"]


def test_a_key_belongs_to_its_tenant_route_and_principal(store: StoreRig) -> None:
    key = a_key()
    store.inbox.accept(a_message(), key)

    others = [replace(key, tenant="t2"), replace(key, route="POST /y"), replace(key, principal="ann")]

    assert not any(store.inbox.accept(a_message(), other)[0].replayed for other in others)


def test_twenty_equal_requests_at_once_keep_one_message(store: StoreRig) -> None:
    key, session_id = a_key(), an_id("s-")

    with ThreadPoolExecutor(20) as pool:
        receipts = list(pool.map(lambda _: store.inbox.accept(a_message(session_id=session_id), key)[0], range(20)))

    assert Counter(receipt.replayed for receipt in receipts) == {False: 1, True: 19}
    assert len({receipt.event_id for receipt in receipts}) == 1
    assert store.types(session_id) == ["user", "assistant.started"]


def test_numbers_in_a_session_are_gap_free_and_in_commit_order_with_eight_writers(store: StoreRig) -> None:
    session_id = an_id("s-")
    seen: list[list[int]] = []

    def write(number: int) -> list[tuple[int, str]]:
        placed = []
        for _ in range(5):
            _, events = store.inbox.accept(a_message(f"from {number}", session_id=session_id), None)
            placed += [(event.seq, event.event_id) for event in events]
            # Whoever reads after this commit sees every number up to ours.
            seen.append([e["seq"] for e in store.stream.events_after(session_id, 0, 1000) if e["seq"] <= events[1].seq])
        return placed

    with ThreadPoolExecutor(8) as pool:
        placed = [pair for pairs in pool.map(write, range(8)) for pair in pairs]

    assert sorted(seq for seq, _ in placed) == list(range(1, 81))
    durable = store.stream.events_after(session_id, 0, 1000)
    assert {event["seq"]: event["event_id"] for event in durable} == dict(placed)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen)


def answered(store: StoreRig, worker: Process, session_id: str, text: str = "hello") -> str:
    message = a_message(text, session_id)
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    worker.turns.finish(turn, a_final(turn.event_id, f"answer to {text}"), "done", None)
    return message.event_id


def said(store: StoreRig, session_id: str) -> list[str]:
    return [line.text for line in store.transcripts.newest(session_id, 2**62, 100)]


def test_a_message_that_will_not_wait_is_refused_while_an_answer_is_owed_and_taken_after_it(store: StoreRig) -> None:
    first = a_message()
    store.inbox.accept(first, None)
    impatient = a_message(session_id=first.session_id, terms=Terms(WhileBusy.REJECT))

    with pytest.raises(Conflict):
        store.inbox.accept(impatient, None)

    assert store.types(first.session_id) == ["user", "assistant.started"]
    store.control.cancel(first.session_id, None)
    store.inbox.accept(impatient, None)
    assert store.row("turn", impatient.event_id).state == "queued"


def test_a_message_that_interrupts_stops_everything_before_it_and_is_answered_itself(store: StoreRig) -> None:
    worker = store.process()
    first, second = a_message(), a_message()
    second = replace(second, session_id=first.session_id)
    store.inbox.accept(first, None)
    store.inbox.accept(second, None)
    running = worker.turns.claim(first.event_id)
    assert running is not None

    urgent = a_message(session_id=first.session_id, terms=Terms(WhileBusy.INTERRUPT))
    store.inbox.accept(urgent, None)

    assert set(worker.turns.asked_to_stop([first.event_id, urgent.event_id])) == {first.event_id}
    worker.turns.finish(running, a_final(first.event_id), "done", None)
    assert worker.turns.claim(second.event_id) is None
    assert store.row("turn", second.event_id).state == "cancelled"
    assert worker.turns.claim(urgent.event_id) is not None


def test_what_is_asked_again_takes_the_place_of_what_was_said(store: StoreRig) -> None:
    worker, session_id = store.process(), an_id("s-")
    answered(store, worker, session_id, "one")
    last = answered(store, worker, session_id, "two")
    again = a_message("two", session_id, terms=Terms(WhileBusy.REJECT, replaces=last, remembered=False))

    store.inbox.accept(again, None)

    assert said(store, session_id) == ["one", "answer to one", "two"]
    assert set(store.transcripts.replaced([last, f"{last}:answer", again.event_id])) == {last, f"{last}:answer"}
    assert again.event_id not in store.stream.memory_states(session_id)


def test_only_the_last_message_can_be_asked_again(store: StoreRig) -> None:
    worker, session_id = store.process(), an_id("s-")
    first = answered(store, worker, session_id, "one")
    answered(store, worker, session_id, "two")

    with pytest.raises(Conflict):
        store.inbox.accept(a_message("one", session_id, terms=Terms(replaces=first)), None)

    assert said(store, session_id) == ["one", "answer to one", "two", "answer to two"]

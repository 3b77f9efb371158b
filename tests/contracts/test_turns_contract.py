"""What every `Turns` promises: one owner at a time, in the session's order, and nothing from the dead."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.conversation import Turn, UserMessage
from app.domain.conversation_control import Stopping, Why
from app.domain.dialogue import ToolAsk, ToolOffer, Utterance
from app.domain.errors import LeaseLost
from app.domain.events import EventType, NewEvent
from app.domain.kept_text import Saved
from app.domain.leases import ALONE_AFTER_DEATHS, MAX_ATTEMPTS, MAX_CLAIMS
from app.domain.memory import Place
from app.domain.ports import Turns
from app.domain.terms import Terms, WhileBusy
from app.domain.turn_request import TurnRequest
from tests.builders import a_final, a_message, a_thought
from tests.conftest import eventually
from tests.contracts.store_rig import Process, StoreRig


def accepted(store: StoreRig, session_id: str = "", **fields: Any) -> UserMessage:
    message = a_message(session_id=session_id, **fields)
    store.inbox.accept(message, None)
    return message


def claimed(turns: Turns, message: UserMessage) -> Turn:
    turn = turns.claim(message.event_id)
    assert turn is not None
    return turn


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


@pytest.fixture
def other(store: StoreRig) -> Process:
    return store.process()


def test_a_claim_counts_the_attempt_and_names_its_owner(store: StoreRig, worker: Process) -> None:
    message = accepted(store, metadata={"a": 1}, persona_id="p-1", traceparent="00-aa-bb-01")

    turn = claimed(worker.turns, message)

    assert (turn.attempts, turn.lease_owner, turn.failures, turn.seq) == (1, worker.owner, 0, 1)
    assert (turn.metadata, turn.persona_id, turn.traceparent) == ({"a": 1}, "p-1", "00-aa-bb-01")


def test_a_claim_tells_what_else_its_message_asked_for(store: StoreRig, worker: Process) -> None:
    ask = ToolAsk("call-1", "look_up", '{"word": "ä"}')
    said = (Utterance("user", "hi"), Utterance("assistant", "", (ask,)), Utterance("tool", "found", answers="call-1"))
    offer = ToolOffer("look_up", "Looks a word up.", {"type": "object", "properties": {"word": {"type": "string"}}})
    request = TurnRequest(said, (offer,), {"type": "function"}, 12, 0.0, {"stop": ["."]})
    message = accepted(store, request=request)

    assert claimed(worker.turns, message).request == request


def test_a_held_turn_is_nobody_elses(store: StoreRig, worker: Process, other: Process) -> None:
    message = accepted(store)
    claimed(worker.turns, message)

    assert other.turns.claim(message.event_id) is None
    assert worker.turns.claim(message.event_id) is None


def test_an_unknown_turn_is_nothing_to_do(store: StoreRig, worker: Process) -> None:
    assert worker.turns.claim("nobody") is None


def test_a_lease_that_ran_out_frees_the_turn(store: StoreRig, worker: Process, other: Process) -> None:
    message = accepted(store)
    claimed(worker.turns, message)
    store.pass_time(29)
    assert other.turns.claim(message.event_id) is None

    store.pass_time(2)

    assert claimed(other.turns, message).attempts == 2


def test_what_a_zombie_brings_changes_nothing(store: StoreRig, worker: Process, other: Process) -> None:
    message = accepted(store)
    old = claimed(worker.turns, message)
    store.pass_time(31)
    new = claimed(other.turns, message)
    other.turns.note(new, a_thought(message.event_id, 2))
    other.turns.save_partials([(new, "mine")])
    before = store.types(message.session_id)

    assert worker.turns.save_partials([(old, "old text")]) == Saved(frozenset(), frozenset({message.event_id}))
    with pytest.raises(LeaseLost):
        worker.turns.note(old, a_thought(message.event_id, 1))
    with pytest.raises(LeaseLost):
        worker.turns.finish(old, a_final(message.event_id, "old answer"), "done", Place("t1", "wm", ""))
    worker.turns.postpone(old, 600, "old trouble")
    worker.turns.wait(old, 600, "old trouble")

    assert store.types(message.session_id) == before
    partial = store.stream.partial(message.session_id)
    assert partial is not None
    assert (partial.text, partial.attempt) == ("mine", 2)
    other.turns.finish(new, a_final(message.event_id, "new answer"), "done", None)
    assert store.row("turn", message.event_id).state == "done"


def test_an_earlier_attempt_of_the_same_process_is_a_zombie_too(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    old = claimed(worker.turns, message)
    store.pass_time(31)
    claimed(worker.turns, message)

    with pytest.raises(LeaseLost):
        worker.turns.finish(old, a_final(message.event_id), "done", None)


def test_a_dead_owners_lease_ends_at_once(store: StoreRig, worker: Process, other: Process) -> None:
    message = accepted(store)
    claimed(worker.appear().turns, message)
    worker.die()

    eventually(lambda: store.sweep()["turn"] == 1)

    assert claimed(other.turns, message).attempts == 2


def test_a_living_owner_keeps_its_lease(store: StoreRig, worker: Process, other: Process) -> None:
    message = accepted(store)
    worker.appear()
    with worker.turns.working_on(message.event_id):
        claimed(worker.turns, message)

        assert store.sweep()["turn"] == 0

        assert other.turns.claim(message.event_id) is None


def test_the_second_turn_waits_for_the_end_of_the_first(store: StoreRig, worker: Process, other: Process) -> None:
    first = accepted(store)
    second = accepted(store, first.session_id)
    assert other.turns.claim(second.event_id) is None
    turn = claimed(worker.turns, first)
    assert other.turns.claim(second.event_id) is None

    worker.turns.finish(turn, a_final(first.event_id), "done", None)

    assert claimed(other.turns, second).seq == 3


def test_a_postponed_turn_still_goes_first(store: StoreRig, worker: Process) -> None:
    first = accepted(store)
    second = accepted(store, first.session_id)
    worker.turns.postpone(claimed(worker.turns, first), 60, "the model is away")

    assert worker.turns.claim(second.event_id) is None


def test_other_sessions_do_not_wait(store: StoreRig, worker: Process) -> None:
    claimed(worker.turns, accepted(store))

    assert claimed(worker.turns, accepted(store)).attempts == 1


def test_a_paused_session_holds_its_turns(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    store.change_session(message.session_id, paused=True)
    assert worker.turns.claim(message.event_id) is None

    store.change_session(message.session_id, paused=False)

    assert claimed(worker.turns, message).attempts == 1


def test_what_a_paused_session_holds_is_still_called_off(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    store.change_session(message.session_id, paused=True)
    instead = a_message("instead", message.session_id, terms=Terms(while_busy=WhileBusy.INTERRUPT))
    store.inbox.accept(instead, None)

    assert message.event_id in worker.turns.due(10_000)
    assert worker.turns.claim(message.event_id) is None

    assert store.row("turn", message.event_id).state == "cancelled"
    assert worker.turns.claim(instead.event_id) is None
    assert store.row("turn", instead.event_id).state == "queued"


def die_with(store: StoreRig, message: UserMessage) -> None:
    """A worker claims the turn and is killed."""
    victim = store.process().appear()
    claimed(victim.turns, message)
    victim.die()
    eventually(lambda: store.sweep()["turn"] == 1)


def test_a_turn_that_killed_five_processes_is_dead_and_says_so(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    for _ in range(ALONE_AFTER_DEATHS):
        die_with(store, message)
    for deaths in range(ALONE_AFTER_DEATHS, MAX_ATTEMPTS):
        turn = claimed(worker.turns, message)
        assert turn.deaths == deaths
        worker.turns.lose(turn, "killed by SIGKILL")
        assert store.row("turn", message.event_id).last_error == "killed by SIGKILL"

    assert worker.turns.claim(message.event_id) is None

    assert store.row("turn", message.event_id).state == "dead"
    last = store.stream.events_after(message.session_id, 0, 100)[-1]
    assert last["type"] == "assistant.error"
    assert last["metadata"]["reason"]


def test_a_suspect_has_a_process_of_its_own_so_its_workers_death_is_not_its_doing(store: StoreRig) -> None:
    message = accepted(store)
    for _ in range(ALONE_AFTER_DEATHS + MAX_ATTEMPTS):
        die_with(store, message)

    assert claimed(store.process().turns, message).deaths == ALONE_AFTER_DEATHS


def test_a_turn_that_nobody_ever_ends_is_set_aside_however_its_workers_ended(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    for _ in range(MAX_CLAIMS):
        worker.turns.postpone(claimed(worker.turns, message), 0, "again")

    assert worker.turns.claim(message.event_id) is None

    assert store.row("turn", message.event_id).state == "dead"


def test_a_turn_may_wait_for_a_decision_for_as_long_as_it_takes(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    for _ in range(MAX_CLAIMS + 2):
        worker.turns.wait(claimed(worker.turns, message), 0, "nobody decides")
    assert store.row("turn", message.event_id).last_error == "nobody decides"

    turn = claimed(worker.turns, message)

    assert (turn.failures, turn.deaths, turn.undecided, turn.claims) == (0, 0, MAX_CLAIMS + 2, 1)


def test_a_turn_that_waits_for_a_decision_is_due_after_its_pause(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    worker.turns.wait(claimed(worker.turns, message), 60, "nobody decides")
    assert worker.turns.claim(message.event_id) is None

    store.pass_time(61)

    assert claimed(worker.turns, message).undecided == 1


def test_a_claim_whose_worker_lives_is_given_back_and_no_death(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    worker.appear()

    worker.turns.survived(claimed(worker.turns, message))

    turn = eventually(lambda: worker.turns.claim(message.event_id))
    assert (turn.attempts, turn.deaths) == (2, 0)


def test_a_worker_that_lost_its_turn_and_lives_counts_as_no_death(
    store: StoreRig, worker: Process, other: Process
) -> None:
    message = accepted(store)
    frozen = claimed(worker.appear().turns, message)
    store.pass_time(31)
    new = claimed(other.appear().turns, message)
    assert new.deaths == 1

    worker.turns.survived(frozen)

    eventually(lambda: store.deaths("turn", message.event_id) == 1)  # the present claim, which is not over
    other.turns.postpone(new, 0, "the model is away")
    assert claimed(other.turns, message).deaths == 0


def test_attempts_that_ended_in_words_are_no_deaths(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    for _ in range(MAX_ATTEMPTS + 3):
        worker.turns.postpone(claimed(worker.turns, message), 1, "the model is away")
        store.pass_time(2)

    turn = claimed(worker.turns, message)

    assert (turn.attempts, turn.failures) == (MAX_ATTEMPTS + 4, MAX_ATTEMPTS + 3)


def test_a_postponed_turn_is_due_again_after_its_pause(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    worker.turns.postpone(claimed(worker.turns, message), 60, "the model is away")
    assert worker.turns.claim(message.event_id) is None
    assert message.event_id not in worker.turns.due(10_000)
    assert store.row("turn", message.event_id).last_error == "the model is away"

    store.pass_time(61)

    assert message.event_id in worker.turns.due(10_000)
    assert claimed(worker.turns, message).failures == 1


def test_the_sweep_sees_what_is_free_and_due(store: StoreRig, worker: Process) -> None:
    free, held, paused = accepted(store), accepted(store), accepted(store)
    behind = accepted(store, free.session_id)
    store.change_session(paused.session_id, paused=True)
    claimed(worker.turns, held)

    due = worker.turns.due(10_000)

    assert free.event_id in due
    assert not {held.event_id, paused.event_id, behind.event_id} & set(due)


def test_finishing_keeps_the_answer_and_its_memory(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker.turns, message)

    ended = worker.turns.finish(turn, a_final(message.event_id, "hi there"), "done", Place("t1", "wm", "u-9"))

    assert (ended.seq, ended.turn_seq, ended.message) == (3, 1, "hi there")
    assert store.types(message.session_id) == ["user", "assistant.started", "assistant.final"]
    assert store.row("turn", message.event_id).state == "done"
    assert store.row("memory", f"{message.event_id}:answer").state == "pending"
    assert store.stream.partial(message.session_id) is None


def test_a_turn_that_ended_cannot_end_again(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker.turns, message)
    worker.turns.finish(turn, a_final(message.event_id), "done", None)

    with pytest.raises(LeaseLost):
        worker.turns.finish(turn, a_final(message.event_id), "done", None)

    assert worker.turns.claim(message.event_id) is None
    assert store.types(message.session_id).count("assistant.final") == 1


def test_a_failed_turn_remembers_why(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker.turns, message)
    failed = NewEvent(f"{message.event_id}:answer", EventType.ERROR, "assistant", "", {"reason": "no key"})

    worker.turns.finish(turn, failed, "failed", None)

    assert store.row("turn", message.event_id).last_error == "no key"


def test_partial_text_is_kept_and_forgotten_by_the_next_attempt(
    store: StoreRig, worker: Process, other: Process
) -> None:
    message = accepted(store)
    turn = claimed(worker.turns, message)
    noted = worker.turns.note(turn, a_thought(message.event_id))
    worker.turns.save_partials([(turn, "Once upon")])
    partial = store.stream.partial(message.session_id)
    assert partial is not None
    assert (partial.after, partial.attempt, partial.offset, partial.text) == (noted.seq, 1, 0, "Once upon")

    store.pass_time(31)
    claimed(other.turns, message)

    assert store.stream.partial(message.session_id) is None


def test_the_texts_of_many_attempts_are_kept_together_each_for_itself(store: StoreRig, worker: Process) -> None:
    messages = [accepted(store) for _ in range(3)]
    turns = [claimed(worker.turns, message) for message in messages]
    begun = [worker.turns.note(turn, a_thought(turn.event_id)) for turn in turns]
    worker.turns.finish(turns[1], a_final(turns[1].event_id, "done"), "done", None)

    saved = worker.turns.save_partials([(turn, f"text {number}") for number, turn in enumerate(turns)])

    assert saved == Saved(frozenset({turns[0].event_id, turns[2].event_id}), frozenset({turns[1].event_id}))
    kept = [store.stream.partial(event.session_id) for event in begun]
    assert [partial.text if partial else None for partial in kept] == ["text 0", None, "text 2"]
    assert worker.turns.save_partials([]) == Saved(frozenset(), frozenset())


def test_a_running_turn_is_asked_to_stop_and_its_worker_hears_of_it(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    behind = accepted(store, message.session_id)
    claimed(worker.turns, message)
    ids = [message.event_id, behind.event_id]
    assert not worker.turns.asked_to_stop(ids)

    assert store.control.cancel(message.session_id, None) == Stopping(True)

    assert list(worker.turns.asked_to_stop(ids)) == [message.event_id]
    assert store.row("turn", message.event_id).state == "running"
    assert store.row("turn", behind.event_id).state == "queued"


def test_a_turn_that_waits_is_ended_at_once_and_never_claimed(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    behind = accepted(store, message.session_id)

    stopping = store.control.cancel(message.session_id, behind.event_id)

    assert stopping.end is not None
    assert (stopping.end.type, stopping.end.turn_seq, stopping.end.event_id) == (
        EventType.CANCELLED, 3, f"{behind.event_id}:answer",
    )  # fmt: skip
    assert store.types(message.session_id)[-1] == "assistant.cancelled"
    assert store.row("turn", behind.event_id).state == "cancelled"
    assert worker.turns.claim(behind.event_id) is None
    assert worker.turns.claim(message.event_id) is not None


def test_what_has_ended_or_is_unknown_cannot_be_stopped(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    worker.turns.finish(claimed(worker.turns, message), a_final(message.event_id), "done", None)
    other = accepted(store)

    assert store.control.cancel(message.session_id, None) == Stopping(False)
    assert store.control.cancel(message.session_id, message.event_id) == Stopping(False)
    assert store.control.cancel(message.session_id, other.event_id) == Stopping(False)
    assert store.control.cancel("nowhere", None) == Stopping(False)
    assert store.row("turn", other.event_id).state == "queued"


def test_a_turn_whose_worker_died_after_the_wish_is_ended_by_whoever_claims_it(
    store: StoreRig, worker: Process, other: Process
) -> None:
    message = accepted(store)
    claimed(worker.turns, message)
    store.control.cancel(message.session_id, None)
    store.pass_time(31)

    assert other.turns.claim(message.event_id) is None

    assert store.types(message.session_id)[-1] == "assistant.cancelled"
    assert store.row("turn", message.event_id).state == "cancelled"


def test_a_message_whose_time_is_over_is_ended_by_whoever_would_begin_it(store: StoreRig, worker: Process) -> None:
    terms = Terms(deliver_before=store.now() + timedelta(seconds=60))
    early, tardy = accepted(store, terms=terms), accepted(store, terms=terms)
    turn = claimed(worker.turns, early)
    assert turn.deliver_before == terms.deliver_before
    assert worker.turns.asked_to_stop([early.event_id]) == {}

    store.pass_time(61)

    assert worker.turns.asked_to_stop([early.event_id]) == {early.event_id: Why.LATE}
    assert worker.turns.claim(tardy.event_id) is None
    assert store.row("turn", tardy.event_id).state == "failed"
    (*_, last) = store.stream.events_after(tardy.session_id, 0, 10)
    assert last["type"] == "assistant.error"
    assert "before" in last["metadata"]["reason"]


def test_the_next_turn_of_a_session_is_the_oldest_that_may_run(store: StoreRig, worker: Process) -> None:
    first = accepted(store)
    second = accepted(store, first.session_id)
    assert worker.turns.next_due(first.session_id) == first.event_id

    turn = claimed(worker.turns, first)
    assert worker.turns.next_due(first.session_id) == second.event_id
    worker.turns.finish(turn, a_final(first.event_id), "done", None)
    worker.turns.finish(claimed(worker.turns, second), a_final(second.event_id), "done", None)

    assert worker.turns.next_due(first.session_id) is None

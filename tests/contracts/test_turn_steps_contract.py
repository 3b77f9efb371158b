"""What every `Turns` promises of a turn that asks for tools: its step and calls are kept together, it waits for the
last of them without being anybody's, and whoever goes on has everything they brought.
"""

from dataclasses import replace

import pytest

from app.domain.conversation import Turn, UserMessage
from app.domain.errors import LeaseLost
from app.domain.leases import MAX_ATTEMPTS, MAX_CLAIMS
from app.domain.tools import ToolEnd, ToolRequest, ToolStatus, result_event
from tests.builders import a_final, a_message, a_step
from tests.conftest import eventually
from tests.contracts.store_rig import Process, StoreRig

DONE = ToolEnd("succeeded", ToolStatus.SUCCESS, {"text": "hi"}, 0.25)


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


def accepted(store: StoreRig, session_id: str = "") -> UserMessage:
    message = a_message(session_id=session_id, metadata={"universe_id": "u-9"}, persona_id="p-1")
    store.inbox.accept(message, None)
    return message


def claimed(process: Process, message: UserMessage) -> Turn:
    turn = process.turns.claim(message.event_id)
    assert turn is not None
    return turn


def end(process: Process, request: ToolRequest) -> None:
    """Run this call to its end."""
    call = process.calls.claim(request.call_id)
    assert call is not None
    process.calls.finish(call, result_event(call, DONE, "{}"), DONE, None)


def test_a_step_its_calls_and_their_events_are_kept_together(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)
    plan = a_step(turn, calls=2)

    events = worker.turns.take_step(turn, plan)

    assert [event.event_id for event in events] == [call.call_id for call in plan.calls]
    assert [(event.seq, event.turn_seq) for event in events] == [(3, 1), (4, 1)]
    assert store.types(message.session_id)[2:] == ["tool.start", "tool.start"]
    for request in plan.calls:
        call = worker.calls.claim(request.call_id)
        assert call is not None
        assert (call.turn_event_id, call.tenant, call.persona_id) == (message.event_id, "t1", "p-1")
        assert (call.args, call.metadata) == ({"text": "hi"}, {"universe_id": "u-9"})
    assert store.row("turn", message.event_id).state == "queued"


def test_a_turn_waits_for_the_last_of_its_calls(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)
    plan = a_step(turn, calls=2)
    worker.turns.take_step(turn, plan)
    assert worker.turns.claim(message.event_id) is None

    end(worker, plan.calls[0])
    held = worker.calls.claim(plan.calls[1].call_id)
    assert held is not None

    assert worker.turns.claim(message.event_id) is None
    assert message.event_id not in worker.turns.due(10_000)
    worker.calls.finish(held, result_event(held, DONE, "{}"), DONE, None)
    assert message.event_id in worker.turns.due(10_000)
    assert claimed(worker, message).steps == 1


def test_who_goes_on_knows_every_step_and_what_its_calls_brought(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    first = a_step(turn := claimed(worker, message), calls=1, refusals=1)
    worker.turns.take_step(turn, first)
    end(worker, first.calls[0])
    second = a_step(turn := claimed(worker, message), calls=1)
    second = replace(second, step=replace(second.step, escalated="too hard for me"))
    worker.turns.take_step(turn, second)
    end(worker, second.calls[0])

    taken = store.process().turns.steps(claimed(worker, message))

    assert [each.step for each in taken] == [first.step, second.step]
    kept = taken[0].results[first.calls[0].call_id]
    assert (kept["status"], kept["payload"]) == ("success", {"text": "hi"})
    assert second.calls[0].call_id in taken[1].results


def test_a_step_without_calls_is_due_at_once(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)

    worker.turns.take_step(turn, a_step(turn, calls=0, refusals=2))

    assert claimed(worker, message).steps == 1


def test_a_step_is_neither_a_death_nor_a_failure_nor_one_claim_too_many(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    worker.turns.postpone(claimed(worker, message), 0, "the model is away")
    for _ in range(MAX_CLAIMS + 1):
        turn = claimed(worker, message)
        worker.turns.take_step(turn, a_step(turn, calls=0, refusals=1))

    turn = claimed(worker, message)

    assert (turn.deaths, turn.failures, turn.steps) == (0, 0, MAX_CLAIMS + 1)


def test_a_zombies_step_is_dropped_with_its_calls(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    old = claimed(worker, message)
    store.pass_time(31)
    new = claimed(store.process(), message)

    with pytest.raises(LeaseLost):
        worker.turns.take_step(old, a_step(old))

    assert worker.calls.claim(a_step(old).calls[0].call_id) is None
    assert new.steps == 0
    assert "tool.start" not in store.types(message.session_id)


def test_a_step_cannot_be_taken_twice(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)
    plan = a_step(turn)
    worker.turns.take_step(turn, plan)

    with pytest.raises(LeaseLost):
        worker.turns.take_step(turn, plan)

    assert store.types(message.session_id).count("tool.start") == 1


def test_the_next_message_waits_for_a_turn_that_waits_for_its_tools(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    behind = accepted(store, message.session_id)
    turn = claimed(worker, message)
    worker.turns.take_step(turn, a_step(turn))

    assert worker.turns.claim(behind.event_id) is None


def test_a_stopped_turn_ends_at_once_and_what_nobody_began_is_never_begun(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)
    plan = a_step(turn, calls=2)
    worker.turns.take_step(turn, plan)
    running = worker.calls.claim(plan.calls[0].call_id)
    assert running is not None

    stopping = store.control.cancel(message.session_id, None)

    assert stopping.end is not None
    assert store.row("turn", message.event_id).state == "cancelled"
    assert store.row("tool_call", plan.calls[1].call_id).state == "cancelled"
    assert worker.calls.claim(plan.calls[1].call_id) is None
    worker.calls.finish(running, result_event(running, DONE, "{}"), DONE, None)
    assert store.row("tool_call", plan.calls[0].call_id).state == "succeeded"
    assert worker.turns.claim(message.event_id) is None
    assert store.types(message.session_id).count("assistant.cancelled") == 1


def test_a_wish_to_stop_that_comes_just_before_the_step_waits_for_no_call(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)
    store.control.cancel(message.session_id, None)
    plan = a_step(turn)
    worker.turns.take_step(turn, plan)

    assert message.event_id in worker.turns.due(10_000)
    assert worker.turns.claim(message.event_id) is None

    assert store.row("turn", message.event_id).state == "cancelled"
    assert store.row("tool_call", plan.calls[0].call_id).state == "cancelled"


def test_a_dead_call_is_a_result_too_and_its_turn_goes_on(store: StoreRig, worker: Process) -> None:
    message = accepted(store)
    turn = claimed(worker, message)
    plan = a_step(turn)
    worker.turns.take_step(turn, plan)
    for _ in range(MAX_ATTEMPTS):
        victim = store.process().appear()
        assert victim.calls.claim(plan.calls[0].call_id) is not None
        victim.die()
        eventually(lambda: store.sweep()["tool_call"] == 1)
    call = worker.calls.claim(plan.calls[0].call_id)
    assert call is not None
    dead = ToolEnd.without_result("dead", "set aside")
    worker.calls.finish(call, result_event(call, dead, "{}"), dead, None)

    turn = claimed(worker, message)

    (taken,) = worker.turns.steps(turn)
    assert taken.results[plan.calls[0].call_id]["payload"] == {"error": "set aside"}
    worker.turns.finish(turn, a_final(message.event_id), "done", None)

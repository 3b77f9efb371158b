"""What every `ToolRequests` and `ToolCalls` promises: kept once, held by one, ended once, and every run counted."""

import json
from typing import Any

import pytest

from app.domain.errors import KeyReused, LeaseLost, NotFound
from app.domain.leases import MAX_ATTEMPTS
from app.domain.memory import Place
from app.domain.tools import Effect, ToolCall, ToolEnd, ToolRequest, ToolStatus, result_event, start_event
from tests.builders import a_key, a_tool_request
from tests.conftest import eventually
from tests.contracts.store_rig import Process, StoreRig

DONE = ToolEnd("succeeded", ToolStatus.SUCCESS, {"text": "hi"}, 0.25)


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


@pytest.fixture
def other(store: StoreRig) -> Process:
    return store.process()


def accepted(store: StoreRig, effect: Effect = Effect.READ, **fields: Any) -> ToolRequest:
    request = a_tool_request(effect, **fields)
    store.tools.accept(request, None)
    return request


def claimed(process: Process, request: ToolRequest) -> ToolCall:
    call = process.calls.claim(request.call_id)
    assert call is not None
    return call


def events(store: StoreRig, request: ToolRequest) -> list[dict[str, Any]]:
    return store.stream.events_after(request.session_id, 0, 100)


def test_a_call_and_its_event_are_kept_together(store: StoreRig) -> None:
    request = a_tool_request(persona_id="p-1")

    receipt, (shown,) = store.tools.accept(request, None)

    assert (receipt.session_id, receipt.event_id, receipt.replayed) == (request.session_id, request.call_id, False)
    (kept,) = events(store, request)
    assert (kept["type"], kept["role"], kept["seq"], kept["persona_id"]) == ("tool.start", "tool", 1, "p-1")
    assert kept["metadata"] == {"tool_name": "echo", "request_id": request.call_id, "status": "queued"}
    assert shown.seq == 1
    assert store.row("tool_call", request.call_id).state == "queued"


def test_a_call_joins_its_session(store: StoreRig) -> None:
    first = accepted(store)

    second = accepted(store, session_id=first.session_id)

    assert [event["event_id"] for event in events(store, first)] == [first.call_id, second.call_id]


def test_a_session_of_another_tenant_is_not_there(store: StoreRig) -> None:
    first = accepted(store)

    with pytest.raises(NotFound):
        accepted(store, session_id=first.session_id, tenant="t2", tenant_named=True)

    assert len(events(store, first)) == 1


def test_a_repeated_key_gives_the_first_receipt_and_keeps_nothing(store: StoreRig) -> None:
    key, request = a_key(), a_tool_request()
    store.tools.accept(request, key)

    receipt, shown = store.tools.accept(a_tool_request(session_id=request.session_id), key)

    assert (receipt.event_id, receipt.replayed, list(shown)) == (request.call_id, True, [])
    assert len(events(store, request)) == 1


def test_a_key_with_another_body_is_refused(store: StoreRig) -> None:
    key = a_key(digest="d1")
    store.tools.accept(a_tool_request(), key)

    with pytest.raises(KeyReused):
        store.tools.accept(a_tool_request(), a_key(key.key, "d2"))


def test_a_claim_carries_the_call_and_counts_the_run(store: StoreRig, worker: Process) -> None:
    request = accepted(store, Effect.WRITE, metadata={"universe_id": "u-9"}, traceparent="00-aa-bb-01")

    call = claimed(worker, request)

    assert (call.tool, call.effect, call.args) == ("echo", Effect.WRITE, {"text": "hi"})
    assert (call.tenant, call.metadata, call.traceparent) == ("t1", {"universe_id": "u-9"}, "00-aa-bb-01")
    assert (call.attempts, call.runs, call.deaths, call.failures, call.lease_owner) == (1, 1, 0, 0, worker.owner)


def test_a_held_call_is_nobody_elses(store: StoreRig, worker: Process, other: Process) -> None:
    request = accepted(store)
    claimed(worker, request)

    assert other.calls.claim(request.call_id) is None
    assert worker.calls.claim(request.call_id) is None
    assert request.call_id not in other.calls.due(1000)


def test_calls_of_one_session_run_side_by_side(store: StoreRig, worker: Process, other: Process) -> None:
    first = accepted(store)
    second = accepted(store, session_id=first.session_id)
    claimed(worker, first)

    assert claimed(other, second).attempts == 1


def test_a_dead_owners_call_is_free_at_once_and_its_run_stays_counted(
    store: StoreRig, worker: Process, other: Process
) -> None:
    request = accepted(store)
    claimed(worker.appear(), request)
    worker.die()

    eventually(lambda: store.sweep()["tool_call"] == 1)

    assert request.call_id in other.calls.due(1000)
    again = claimed(other, request)
    assert (again.attempts, again.runs, again.deaths) == (2, 2, 1)


def test_a_heartbeat_keeps_the_call_that_is_worked_on(store: StoreRig, worker: Process, other: Process) -> None:
    request = accepted(store)
    worker.appear()
    with worker.calls.working_on(request.call_id):
        claimed(worker, request)

        assert store.sweep()["tool_call"] == 0

        assert other.calls.claim(request.call_id) is None


def test_a_run_that_had_not_begun_is_not_counted(store: StoreRig, worker: Process, other: Process) -> None:
    request = accepted(store, Effect.WRITE)
    worker.calls.give_back(claimed(worker, request), begun=False)

    again = claimed(other, request)

    assert (again.attempts, again.runs, again.deaths) == (2, 1, 0)


def test_a_run_that_had_begun_stays_counted_and_is_no_death(store: StoreRig, worker: Process, other: Process) -> None:
    request = accepted(store)
    worker.calls.give_back(claimed(worker, request), begun=True)

    again = claimed(other, request)

    assert (again.runs, again.deaths) == (2, 0)


def test_a_postponed_call_is_due_after_its_pause(store: StoreRig, worker: Process) -> None:
    request = accepted(store)
    worker.calls.postpone(claimed(worker, request), 60, "its process ended")
    assert worker.calls.claim(request.call_id) is None
    assert store.row("tool_call", request.call_id).last_error == "its process ended"

    store.pass_time(61)

    assert claimed(worker, request).failures == 1


def test_a_call_that_waits_for_a_decision_has_not_run(store: StoreRig, worker: Process) -> None:
    request = accepted(store)
    worker.calls.wait(claimed(worker, request), 60, "nobody decides")
    assert worker.calls.claim(request.call_id) is None
    assert store.row("tool_call", request.call_id).last_error == "nobody decides"

    store.pass_time(61)

    again = claimed(worker, request)
    assert (again.runs, again.failures, again.deaths) == (1, 0, 0)


def test_an_end_keeps_the_result_its_event_and_its_memory(store: StoreRig, worker: Process) -> None:
    request = accepted(store, metadata={"universe_id": "u-9"})
    call = claimed(worker, request)
    worker.calls.note(call, start_event(call))

    ended = worker.calls.finish(
        call, result_event(call, DONE, json.dumps(DONE.payload)), DONE, Place("t1", "wm", "u-9")
    )

    assert store.types(request.session_id) == ["tool.start", "tool.start", "tool.result"]
    last = events(store, request)[-1]
    assert (last["tool_name"], last["status"], last["payload"], last["args"]) == (
        "echo", "success", {"text": "hi"}, {"text": "hi"},
    )  # fmt: skip
    assert last["metadata"]["execution_time"] == 0.25
    assert json.loads(last["message"]) == {"text": "hi"}
    assert store.row("tool_call", request.call_id).state == "succeeded"
    (owed,) = [one.memory for one in worker.memories.claim_due(100) if one.memory.event_id == ended.event_id]
    assert (owed.role, owed.payload["type"], owed.payload["tool_name"]) == ("tool", "tool_result", "echo")
    assert (owed.payload["status"], owed.payload["content"]) == ("success", last["message"])


def test_what_a_zombie_brings_changes_nothing(store: StoreRig, worker: Process, other: Process) -> None:
    request = accepted(store)
    old = claimed(worker, request)
    store.pass_time(31)
    new = claimed(other, request)
    before = store.types(request.session_id)

    with pytest.raises(LeaseLost):
        worker.calls.note(old, start_event(old))
    with pytest.raises(LeaseLost):
        worker.calls.finish(old, result_event(old, DONE, "{}"), DONE, Place("t1", "wm", ""))
    worker.calls.give_back(old, begun=False)
    worker.calls.postpone(old, 600, "old trouble")
    worker.calls.wait(old, 600, "old trouble")

    assert store.types(request.session_id) == before
    other.calls.finish(new, result_event(new, DONE, "{}"), DONE, None)
    assert store.row("tool_call", request.call_id).state == "succeeded"
    assert new.runs == 2


def test_an_end_is_the_end(store: StoreRig, worker: Process) -> None:
    request = accepted(store)
    call = claimed(worker, request)
    worker.calls.finish(call, result_event(call, DONE, "{}"), DONE, None)

    with pytest.raises(LeaseLost):
        worker.calls.finish(call, result_event(call, DONE, "{}"), DONE, None)

    assert worker.calls.claim(request.call_id) is None
    assert request.call_id not in worker.calls.due(1000)
    assert store.types(request.session_id).count("tool.result") == 1


def test_deaths_add_up(store: StoreRig) -> None:
    request = accepted(store)
    for _ in range(MAX_ATTEMPTS):
        victim = store.process().appear()
        claimed(victim, request)
        victim.die()
        eventually(lambda: store.sweep()["tool_call"] == 1)

    assert claimed(store.process(), request).deaths == MAX_ATTEMPTS


def test_a_call_whose_worker_lives_is_given_back_and_no_death_but_its_run_stays_counted(
    store: StoreRig, worker: Process
) -> None:
    request = accepted(store)
    worker.appear()

    worker.calls.survived(claimed(worker, request))

    again = eventually(lambda: worker.calls.claim(request.call_id))
    assert (again.attempts, again.runs, again.deaths) == (2, 2, 0)

"""Stopping an answer over HTTP: one that waits ends at once, one that is given ends soon, and the stream says so."""

import threading
import time

import pytest

from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Answerer, Gateway, assert_problem


def cancel(gateway: Gateway, session_id: str, **body: str) -> bool:
    answer = gateway.call("POST", f"/v1/session/{session_id}/cancel", json=body)
    assert answer.status_code == 200, answer.text
    found: bool = answer.json()["cancelled"]
    return found


def last(gateway: Gateway, session_id: str) -> dict[str, object]:
    events = gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
    found: dict[str, object] = events[-1]["payload"]
    return found


def test_a_message_that_waits_is_ended_at_once_and_only_once(gateway: Gateway, answerer: Answerer) -> None:
    receipt = gateway.say()
    session_id, event_id = receipt["session_id"], receipt["event_id"]

    assert cancel(gateway, session_id)

    assert last(gateway, session_id)["type"] == "assistant.cancelled"
    assert last(gateway, session_id)["event_id"] == f"{event_id}:answer"
    assert not cancel(gateway, session_id)
    assert not cancel(gateway, session_id, event_id=event_id)
    assert answerer.answer(event_id) == "nothing to do"


def test_the_message_that_is_named_is_stopped_and_the_others_are_answered(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    first, second = (gateway.say(session_id=session_id)["event_id"] for _ in range(2))

    assert cancel(gateway, session_id, event_id=second)

    assert answerer.answer(first) == "done"
    assert answerer.answer(second) == "nothing to do"


def test_an_answer_that_is_given_stops_within_two_seconds_and_keeps_what_was_said(
    gateway: Gateway, answerer: Answerer
) -> None:
    receipt = gateway.say()
    said, wished = threading.Event(), threading.Event()
    steps = ["Once ", said.set, lambda: wished.wait(20), *["upon "] * 1000]
    outcomes: list[str] = []
    worker = threading.Thread(target=lambda: outcomes.append(answerer.answer(receipt["event_id"], *steps)))
    worker.start()
    with gateway.sse(receipt["session_id"]) as items:
        eventually(said.is_set)
        began = time.monotonic()

        assert cancel(gateway, receipt["session_id"])
        time.sleep(1.0)
        wished.set()

        end = next(item for item in items if item["type"] == "assistant.cancelled")
        assert time.monotonic() - began < 2 + 3  # a busy machine may add some
    worker.join()

    assert outcomes == ["cancelled"]
    assert end["message"] == "Once "
    assert end["metadata"]["reason"] == "You stopped this answer."


@pytest.mark.parametrize("session_id", ["no-such-session", "half%20a%20session"])
def test_what_is_not_there_cannot_be_stopped(gateway: Gateway, session_id: str) -> None:
    assert_problem(gateway.call("POST", f"/v1/session/{session_id}/cancel"), 404)


@pytest.mark.parametrize("body", [{"event": "x"}, {"event_id": 5}, {"event_id": ""}])
def test_a_wrong_wish_is_answered_with_what_there_is(gateway: Gateway, body: dict[str, object]) -> None:
    session_id = gateway.say()["session_id"]

    assert_problem(gateway.call("POST", f"/v1/session/{session_id}/cancel", json=body), 422)
    assert cancel(gateway, session_id)

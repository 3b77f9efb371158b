"""What people do to a conversation over HTTP: actions, another answer, hold, name, begin anew, branch, take along."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.builders import an_id
from tests.integration.gateway_process import Answerer, Gateway, assert_problem

pytestmark = pytest.mark.servers


def call(gateway: Gateway, method: str, path: str, **body: Any) -> Any:
    answer = gateway.call(method, path, json=body) if method != "DELETE" else gateway.call(method, path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def talk(gateway: Gateway, answerer: Answerer, session_id: str, *lines: tuple[str, str]) -> list[str]:
    """These messages, each answered."""
    event_ids = [gateway.say(text, session_id)["event_id"] for text, _ in lines]
    for event_id, (_, answer) in zip(event_ids, lines, strict=True):
        assert answerer.answer(event_id, answer) == "done"
    return event_ids


def history(gateway: Gateway, session_id: str) -> str:
    found: str = call(gateway, "GET", f"/v1/sessions/{session_id}/history")["history"]
    return found


def events(gateway: Gateway, session_id: str) -> list[dict[str, Any]]:
    page = call(gateway, "GET", f"/v1/sessions/{session_id}/events")
    return [event["payload"] for event in page["events"]]


@pytest.mark.parametrize("action", ["summarize", "next_steps", "status_report", "nudge"])
def test_an_action_is_answered_like_a_message_and_is_nobodys_memory(
    gateway: Gateway, answerer: Answerer, action: str
) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("hello", "hi"))

    receipt = call(gateway, "POST", "/v1/session/action", session_id=session_id, action=action)

    assert receipt["accepted"] is True
    assert answerer.answer(receipt["event_id"], "Here it is.") == "done"
    asked = next(each for each in events(gateway, session_id) if each["event_id"] == receipt["event_id"])
    assert asked["metadata"]["action"] == action
    with gateway.sse(session_id) as items:
        states = next(item for item in items if item["type"] == "memory.status")["metadata"]
    assert receipt["event_id"] not in states


def test_an_action_that_there_is_not_is_refused_with_those_that_there_are(gateway: Gateway) -> None:
    session_id = gateway.say()["session_id"]

    answer = gateway.call("POST", "/v1/session/action", json={"session_id": session_id, "action": "dance"})

    problem = assert_problem(answer, 400, "Unknown action", "summarize")
    assert problem["detail"].startswith("Unknown action")
    nowhere = {"session_id": an_id("s-"), "action": "summarize"}
    assert_problem(gateway.call("POST", "/v1/session/action", json=nowhere), 404)


def test_a_held_session_takes_messages_and_answers_them_once_released(gateway: Gateway, answerer: Answerer) -> None:
    receipt = gateway.say()
    session_id = receipt["session_id"]

    assert call(gateway, "POST", "/v1/session/action", session_id=session_id, action="pause")["accepted"] is True

    assert answerer.answer(receipt["event_id"]) == "nothing to do"
    (found,) = [e for e in call(gateway, "GET", "/v1/sessions")["items"] if e["session_id"] == session_id]
    assert found["paused"] is True
    assert call(gateway, "POST", f"/v1/sessions/{session_id}/pause", paused=False)["status"] == "released"
    assert answerer.answer(receipt["event_id"]) == "done"


def test_an_answer_given_again_takes_the_place_of_the_old_one(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one", "first answer"), ("two", "bad answer"))

    receipt = call(gateway, "POST", f"/v1/session/{session_id}/regenerate")

    refused = gateway.call("POST", f"/v1/session/{session_id}/regenerate", json={})
    assert_problem(refused, 409, "owed")
    assert answerer.answer(receipt["event_id"], "good answer") == "done"
    assert "bad answer" not in history(gateway, session_id)
    assert history(gateway, session_id).endswith("### User\n\ntwo\n\n### Assistant\n\ngood answer")
    window = call(gateway, "GET", f"/v1/sessions/{session_id}/context-window")
    assert "bad answer" not in window["content"]
    assert [e["message"] for e in events(gateway, session_id) if e["type"] == "assistant.final"] == [
        "first answer", "bad answer", "good answer"
    ]  # fmt: skip


def test_a_repeated_wish_for_another_answer_is_one_wish(gateway: Gateway, answerer: Answerer) -> None:
    session_id, key = an_id("s-"), an_id()
    talk(gateway, answerer, session_id, ("one", "answer"))
    path, headers = f"/v1/session/{session_id}/regenerate", {"Idempotency-Key": key}

    first, again = (gateway.call("POST", path, json={}, headers=headers) for _ in range(2))

    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_message_may_interrupt_or_refuse_to_wait(gateway: Gateway, answerer: Answerer) -> None:
    first = gateway.say()
    session_id = first["session_id"]

    refused = gateway.post({"session_id": session_id, "message": "now", "while_busy": "reject"})
    assert_problem(refused, 409, "while_busy")
    urgent = gateway.say("stop, this instead", session_id, while_busy="interrupt")

    assert answerer.answer(first["event_id"]) == "nothing to do"
    assert answerer.answer(urgent["event_id"], "Done.") == "done"
    assert [e["type"] for e in events(gateway, session_id)][-3:] == [
        "assistant.cancelled", "assistant.thinking", "assistant.final"
    ]  # fmt: skip
    assert_problem(gateway.post({"message": "now", "while_busy": "never"}), 422, "while_busy")


def test_a_message_that_must_not_be_answered_late_is_not(gateway: Gateway, answerer: Answerer) -> None:
    gone = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    late = gateway.say(deliver_before=gone)
    timely = gateway.say(deliver_before=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())

    assert answerer.answer(late["event_id"]) == "nothing to do"
    assert answerer.answer(timely["event_id"]) == "done"

    last = events(gateway, late["session_id"])[-1]
    assert last["type"] == "assistant.error"
    assert "was to be answered before" in last["metadata"]["reason"]
    assert_problem(gateway.post({"message": "now", "deliver_before": "tomorrow"}), 422, "deliver_before")


def test_a_session_is_called_by_its_first_words_until_somebody_names_it(gateway: Gateway) -> None:
    session_id = gateway.say("How do I\n  bake bread? " + "x" * 100)["session_id"]

    def title() -> str:
        (found,) = [e for e in call(gateway, "GET", "/v1/sessions")["items"] if e["session_id"] == session_id]
        return str(found["title"])

    assert title().startswith("How do I bake bread? xx")
    assert len(title()) == 80
    call(gateway, "PATCH", f"/v1/sessions/{session_id}", title="Bread")
    gateway.say("and cake?", session_id)
    assert title() == "Bread"


def test_a_session_tells_its_name_whether_it_is_held_and_where_it_came_from(
    gateway: Gateway, answerer: Answerer
) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one", "answer to one"))
    call(gateway, "POST", f"/v1/sessions/{session_id}/pause")
    new = call(gateway, "POST", f"/v1/sessions/{session_id}/fork", seq=4)["session_id"]

    held, branch = (gateway.get(f"/v1/sessions/{each}").json() for each in (session_id, new))

    assert held in call(gateway, "GET", "/v1/sessions")["items"]
    assert (held["title"], held["paused"], branch["paused"]) == ("one", True, False)
    assert branch["metadata"] == {"forked_from": session_id, "forked_at": 4}
    assert_problem(gateway.get(f"/v1/sessions/{an_id('s-')}"), 404)


def test_a_session_begun_anew_forgets_in_front_of_the_model_and_not_in_front_of_people(
    gateway: Gateway, answerer: Answerer
) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one", "answer to one"))

    assert call(gateway, "POST", f"/v1/sessions/{session_id}/reset")["status"] == "reset"

    assert history(gateway, session_id) == ""
    assert len(events(gateway, session_id)) == 4
    talk(gateway, answerer, session_id, ("two", "answer to two"))
    assert "answer to one" not in history(gateway, session_id)


def test_a_deleted_session_is_like_one_that_never_was(gateway: Gateway, answerer: Answerer) -> None:
    receipt = gateway.say()
    session_id = receipt["session_id"]

    assert call(gateway, "DELETE", f"/v1/sessions/{session_id}")["status"] == "deleted"

    def without_ids(answer: requests.Response) -> dict[str, Any]:
        return {name: value for name, value in answer.json().items() if name != "request_id"}

    gone = gateway.get(f"/v1/sessions/{session_id}/events")
    never = gateway.get(f"/v1/sessions/{an_id('s-')}/events")
    assert gone.status_code == never.status_code == 404
    assert without_ids(gone) == without_ids(never)
    assert_problem(gateway.call("DELETE", f"/v1/sessions/{session_id}"), 404)
    assert answerer.answer(receipt["event_id"]) == "nothing to do"


def test_a_branch_goes_its_own_way_from_a_moment_on(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one", "answer to one"))
    seq = events(gateway, session_id)[-1]["seq"]
    talk(gateway, answerer, session_id, ("two", "answer to two"))

    new = call(gateway, "POST", f"/v1/sessions/{session_id}/fork", seq=seq)["session_id"]
    talk(gateway, answerer, new, ("two, edited", "another answer"))

    assert history(gateway, new) == (
        "### User\n\none\n\n### Assistant\n\nanswer to one\n\n"
        "### User\n\ntwo, edited\n\n### Assistant\n\nanother answer"
    )
    assert "edited" not in history(gateway, session_id)
    assert [event["seq"] for event in events(gateway, new)] == list(range(1, 9))
    with gateway.sse(new) as items:
        assert next(items)["message"] == "one"


def test_a_branch_from_the_very_beginning_is_called_by_its_own_first_words(gateway: Gateway) -> None:
    session_id = gateway.say("one")["session_id"]

    new = call(gateway, "POST", f"/v1/sessions/{session_id}/fork", seq=0)["session_id"]
    gateway.say("something else", new)

    assert gateway.get(f"/v1/sessions/{new}").json()["title"] == "something else"


def test_a_session_survives_its_own_deletion_as_a_document(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one ä \U0001f600", "answer"), ("two", "answer to two"))
    call(gateway, "PATCH", f"/v1/sessions/{session_id}", title="A name")
    document = call(gateway, "POST", "/v1/sessions/export", session_id=session_id)
    before = events(gateway, session_id)
    call(gateway, "DELETE", f"/v1/sessions/{session_id}")

    assert call(gateway, "POST", "/v1/sessions/import", **document)["session_ids"] == [session_id]

    assert events(gateway, session_id) == before
    again = call(gateway, "POST", "/v1/sessions/export", session_id=session_id)
    assert again == document
    talk(gateway, answerer, session_id, ("three", "and on it goes"))
    assert history(gateway, session_id).startswith("### User\n\none ä \U0001f600")


def test_a_document_of_a_session_that_is_there_becomes_another_one(gateway: Gateway, answerer: Answerer) -> None:
    session_id, key = an_id("s-"), an_id()
    talk(gateway, answerer, session_id, ("one", "answer"))
    document = call(gateway, "POST", "/v1/sessions/export", session_id=session_id)
    document["chats"] *= 2
    headers = {"Idempotency-Key": key}

    first, replay = (gateway.call("POST", "/v1/sessions/import", json=document, headers=headers) for _ in range(2))

    ids = first.json()["session_ids"]
    assert len({*ids, session_id}) == 3
    assert replay.json() == first.json()
    assert [history(gateway, each) for each in ids] == [history(gateway, session_id)] * 2


def test_a_session_that_is_in_one_import_twice_becomes_two(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one", "answer"))
    document = call(gateway, "POST", "/v1/sessions/export", session_id=session_id)
    said = history(gateway, session_id)
    call(gateway, "DELETE", f"/v1/sessions/{session_id}")
    document["chats"] *= 2

    first, second = call(gateway, "POST", "/v1/sessions/import", **document)["session_ids"]

    assert first == session_id != second
    assert history(gateway, first) == history(gateway, second) == said


def test_what_is_no_document_is_told_in_words_and_nothing_of_it_is_kept(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    talk(gateway, answerer, session_id, ("one", "answer"))
    document = call(gateway, "POST", "/v1/sessions/export", session_id=session_id)
    (chat,) = document["chats"]
    broken = json.loads(json.dumps(chat)) | {"session_id": an_id("s-")}
    broken["events"][1]["payload"]["seq"] = 7

    answer = gateway.call("POST", "/v1/sessions/import", json={"chats": [chat | {"session_id": an_id("s-")}, broken]})

    assert_problem(answer, 422, "1, 2, 3")
    for each in (chat["session_id"], broken["session_id"]):
        assert gateway.get(f"/v1/sessions/{each}/events").status_code in ((200,) if each == session_id else (404,))
    assert_problem(gateway.call("POST", "/v1/sessions/import", json={"chats": []}), 422, "chats")
    assert_problem(gateway.call("POST", "/v1/sessions/export", json={"session_id": an_id("s-")}), 404)


def test_what_was_accepted_stays_accepted_when_asked_for_the_future(gateway: Gateway) -> None:
    body = {"message": "hi", "deliver_before": "2030-01-01T00:00:00+02:00"}
    key = {"Idempotency-Key": an_id()}

    first, again = gateway.post(body, **key), gateway.post(body, **key)

    assert first.json() == again.json()

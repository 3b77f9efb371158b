"""Sessions as a whole, on the whole running system: begun anew, deleted, taken along, branched, named, searched."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devstack.stack import Stack
from tests.acceptance.following import ENDINGS
from tests.acceptance.talking import Talk, answer_to, talking
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import assert_problem

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def talk(stack: Stack) -> Iterator[Talk]:
    with talking(stack.url("gateway")) as found:
        yield found


def heard_last(talk: Talk) -> list[str]:
    """What the model was told last, but for the system's part."""
    return [line["content"] for line in talk.model.sent[-1]["messages"][1:]]


def finals(talk: Talk, session_id: str) -> list[str]:
    return [event["message"] for event in talk.events(session_id) if event["type"] == "assistant.final"]


@pytest.mark.promise("POST /v1/sessions/{session_id}/reset")
def test_a_session_begun_anew_is_forgotten_by_the_model_and_shown_to_people(talk: Talk) -> None:
    other = talk.of(an_id("t-"))
    session_id = other.talked("one")
    other.hold(session_id=session_id)
    other.streamed(session_id, until="assistant.delta")
    other.say("two", session_id)

    told = other.call("POST", f"/v1/sessions/{session_id}/reset")

    assert told == {"status": "reset", "session_id": session_id}
    other.ended(session_id)
    ends = [event["type"] for event in other.events(session_id) if event["type"] in ENDINGS]
    assert ends == ["assistant.final", "assistant.cancelled", "assistant.cancelled"], "what was owed is stopped"
    assert other.call("GET", f"/v1/sessions/{session_id}/history")["history"] == ""
    other.talked("three", session_id=session_id)
    assert heard_last(other) == ["three"]
    assert other.events(session_id)[0]["message"] == "one"
    assert_problem(talk.client.call("POST", f"/v1/sessions/{an_id()}/reset", json={}), 404)


@pytest.mark.promise("DELETE /v1/sessions/{session_id}")
def test_a_deleted_session_is_like_one_that_never_was(talk: Talk) -> None:
    session_id = talk.talked("one")

    assert talk.call("DELETE", f"/v1/sessions/{session_id}") == {"status": "deleted", "session_id": session_id}

    for path in ("", "/events", "/events/1", "/history", "/context-window"):
        assert_problem(talk.client.get(f"/v1/sessions/{session_id}{path}"), 404)
    assert_problem(talk.client.get(f"/v1/session/{session_id}/events"), 404)
    assert_problem(talk.client.call("DELETE", f"/v1/sessions/{session_id}"), 404)
    assert session_id not in [item["session_id"] for item in talk.call("GET", "/v1/sessions", limit=200)["items"]]


@pytest.mark.promise("POST /v1/sessions/export", "POST /v1/sessions/import")
def test_a_session_goes_out_and_comes_back_as_it_was_and_goes_on(talk: Talk) -> None:
    session_id = talk.talked("one ä \U0001f600", "two")
    talk.call("PATCH", f"/v1/sessions/{session_id}", title="A name")
    before = {path: talk.call("GET", f"/v1/sessions/{session_id}{path}") for path in ("", "/events", "/history")}
    document = talk.call("POST", "/v1/sessions/export", session_id=session_id)
    talk.call("DELETE", f"/v1/sessions/{session_id}")

    assert talk.call("POST", "/v1/sessions/import", **document)["session_ids"] == [session_id]

    after = {path: talk.call("GET", f"/v1/sessions/{session_id}{path}") for path in before}
    assert after == before
    assert talk.call("POST", "/v1/sessions/export", session_id=session_id) == document
    (copy,) = talk.call("POST", "/v1/sessions/import", **document)["session_ids"]
    assert copy != session_id, "one that is there stays as it is"
    talk.talked("three", session_id=session_id)
    texts = ["one ä \U0001f600", "two"]
    assert heard_last(talk) == [*(said for text in texts for said in (text, answer_to(text))), "three"]
    assert talk.call("GET", f"/v1/sessions/{copy}/history") == before["/history"]
    assert_problem(talk.client.call("POST", "/v1/sessions/export", json={"session_id": an_id()}), 404)


@pytest.mark.promise("POST /v1/sessions/{session_id}/fork")
def test_a_branch_begins_with_what_was_said_up_to_a_moment_and_goes_its_own_way(talk: Talk) -> None:
    session_id = talk.talked("one")
    seq = talk.events(session_id)[-1]["seq"]
    talk.talked("two", session_id=session_id)

    told = talk.call("POST", f"/v1/sessions/{session_id}/fork", seq=seq)
    talk.talked("two, edited", session_id=told["session_id"])

    assert told["status"] == "forked"
    assert heard_last(talk) == ["one", answer_to("one"), "two, edited"]
    assert finals(talk, session_id) == [answer_to("one"), answer_to("two")]
    assert [event["seq"] for event in talk.events(told["session_id"])][:seq] == list(range(1, seq + 1))
    assert_problem(talk.client.call("POST", f"/v1/sessions/{an_id()}/fork", json={"seq": 1}), 404)


@pytest.mark.promise("POST /v1/session/{session_id}/regenerate")
def test_another_answer_takes_the_place_of_the_last_one(talk: Talk) -> None:
    question, answers = an_id("again "), iter(("a bad answer", "a good answer"))
    talk.model.parts[question] = lambda line: (line.begin(), line.say(next(answers), finish="stop"))[0]
    session_id = talk.talked("one", question)

    receipt = talk.call("POST", f"/v1/session/{session_id}/regenerate")

    assert (receipt["accepted"], receipt["session_id"]) == (True, session_id)
    assert talk.ended(session_id)["message"] == "a good answer"
    assert heard_last(talk) == ["one", answer_to("one"), question]
    history = talk.call("GET", f"/v1/sessions/{session_id}/history")["history"]
    assert history.endswith(f"### User\n\n{question}\n\n### Assistant\n\na good answer")
    assert "a bad answer" not in history
    assert_problem(talk.client.call("POST", f"/v1/session/{an_id()}/regenerate", json={}), 404)


@pytest.mark.promise("PATCH /v1/sessions/{session_id}", "GET /v1/sessions/{session_id}")
def test_a_session_is_called_by_its_first_words_until_somebody_names_it(talk: Talk) -> None:
    path = f"/v1/sessions/{talk.talked('How do I bake bread?')}"
    assert talk.call("GET", path)["title"] == "How do I bake bread?"

    assert talk.call("PATCH", path, title="Bread")["status"] == "renamed"

    assert talk.call("GET", path)["title"] == "Bread"
    assert_problem(talk.client.call("PATCH", path, json={"title": ""}), 422, "title")


@pytest.mark.promise("GET /v1/sessions/search")
def test_words_are_found_in_messages_and_answers_of_ones_conversations(talk: Talk) -> None:
    other, word = talk.of(an_id("t-")), f"boat{an_id()[:8]}"
    session_id = other.talked(f"my {word} is called Miso", "something else")

    def found(**query: Any) -> list[tuple[str, int]]:
        items = talk.call("GET", "/v1/sessions/search", **query)["items"]
        return [(item["session_id"], item["seq"]) for item in items]

    answer = next(event["seq"] for event in other.events(session_id) if event["type"] == "assistant.final")
    assert found(q=f"miso {word}", tenant=other.tenant) == [(session_id, answer), (session_id, 1)]
    assert found(q=f"{word} else") == []
    assert found(q=word, tenant=an_id("t-")) == []
    first = talk.call("GET", "/v1/sessions/search", q=word, limit=1)
    assert found(q=word, limit=1, after=first["next_cursor"]) == [(session_id, 1)]
    assert_problem(talk.client.get("/v1/sessions/search"), 422, "q")


@pytest.mark.promise("POST /v1/session/message")
def test_a_message_may_wait_interrupt_or_be_refused_while_an_answer_is_given(talk: Talk) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    talk.streamed(session_id, until="assistant.delta")
    refused = {"session_id": session_id, "message": "now", "while_busy": "reject", "metadata": talk.metadata}

    assert_problem(talk.client.post(refused), 409, "while_busy")
    talk.say("this waits", session_id)
    talk.say("this is urgent", session_id, while_busy="interrupt")

    assert talk.ended(session_id)["message"] == answer_to("this is urgent")
    assert held.hung_up.wait(5), "nobody wants the first answer any more"
    ends = [event["type"] for event in talk.events(session_id) if event["type"] in ENDINGS]
    assert ends == ["assistant.cancelled", "assistant.cancelled", "assistant.final"]


@pytest.mark.promise("POST /v1/session/message")
def test_a_message_that_must_not_be_answered_late_says_that_it_is_too_late(talk: Talk) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    talk.say("in time or never", session_id, deliver_before=until.isoformat())
    timely = until + timedelta(minutes=5)
    talk.say("in five minutes", session_id, deliver_before=timely.isoformat())
    eventually(lambda: datetime.now(UTC) > until)

    held.may_go_on.set()

    assert talk.ended(session_id)["message"] == answer_to("in five minutes")
    _, late, _ = [event for event in talk.events(session_id) if event["type"] in ENDINGS]
    assert late["type"] == "assistant.error"
    assert "was to be answered before" in late["metadata"]["reason"]


@pytest.mark.promise("POST /v1/session/message")
def test_a_message_that_cannot_be_kept_is_refused_in_time_and_sending_it_again_keeps_it_once(
    stack: Stack, talk: Talk
) -> None:
    session_id, key = talk.talked("before"), {"Idempotency-Key": an_id()}
    message = {"session_id": session_id, "message": "meanwhile", "metadata": talk.metadata}
    stack.freeze("postgres")
    try:
        began = time.monotonic()
        refused = talk.client.post(message, **key)
        took = time.monotonic() - began
    finally:
        stack.thaw("postgres")

    assert_problem(refused, 503)
    assert int(refused.headers["Retry-After"]) > 0
    assert took < 2.5, "a machine that does other things as well may add some"
    eventually(lambda: talk.client.post(message, **key).status_code == 200)
    assert talk.ended(session_id)["message"] == answer_to("meanwhile")
    assert talk.types(session_id).count("user") == 2

"""Every row of the contract's table of conversation calls, on the whole running system: what a program relies on."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from devstack.stack import Stack
from tests.acceptance.following import ENDINGS
from tests.acceptance.talking import Item, Talk, answer_to, but_cursor, talking
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import assert_problem

pytestmark = pytest.mark.servers
MESSAGE = "/v1/session/message"
SESSION = {
    "session_id", "persona_id", "tenant", "subject", "metadata", "analysis", "paused", "created_at", "updated_at",
}  # fmt: skip
BUSY_SECONDS = 3.0
"""What a machine that does other things as well may add to two seconds."""


@pytest.fixture(scope="module")
def talk(stack: Stack) -> Iterator[Talk]:
    with talking(stack.url("gateway")) as found:
        yield found


@pytest.mark.promise("POST /v1/session/message")
def test_a_message_is_kept_once_it_is_accepted_in_the_session_that_it_names_or_in_a_new_one(talk: Talk) -> None:
    named = f"{uuid.uuid4()}-A.b:c_" + "x" * 85
    body = {"message": "ä" * 32_000, "attachments": [], "metadata": {**talk.metadata, "n": 1, "f": 0.5, "b": True}}

    receipt, new = (talk.client.post({**body, **where}).json() for where in ({"session_id": named}, {}))

    (first, *_), (other, *_) = talk.events(named), talk.events(new["session_id"])
    assert receipt == {"accepted": True, "session_id": named, "event_id": first["event_id"]}
    assert new == {"accepted": True, "session_id": str(uuid.UUID(new["session_id"])), "event_id": other["event_id"]}
    assert (first["type"], first["message"], first["metadata"]) == ("user", body["message"], body["metadata"])
    assert talk.ended(named)["message"] == talk.ended(new["session_id"])["message"] == answer_to(body["message"])


@pytest.mark.promise("POST /v1/session/message")
def test_headers_fill_what_the_body_leaves_out_and_nothing_else(talk: Talk) -> None:
    headers = {"X-Agent-Profile": talk.profile, "X-Universe-Id": "u-1", "X-Persona-Id": "ann"}
    silent = {"message": "hello", "metadata": {"tenant": talk.tenant}}
    named = {"agent_profile_id": talk.profile, "universe_id": "u-2", "tenant": talk.tenant}
    outspoken = {"message": "hello", "persona_id": "bob", "metadata": named}

    filled = talk.client.post(silent, **headers).json()["session_id"]
    kept = talk.client.post(outspoken, **{**headers, "X-Agent-Profile": "nobody"}).json()["session_id"]

    for session_id, persona, universe in ((filled, "ann", "u-1"), (kept, "bob", "u-2")):
        asked = talk.events(session_id)[0]
        assert (asked["persona_id"], asked["metadata"]) == (persona, named | {"universe_id": universe})
        assert talk.ended(session_id)["message"] == answer_to("hello"), "the profile answers"
        assert talk.call("GET", f"/v1/sessions/{session_id}")["persona_id"] == persona


@pytest.mark.promise("POST /v1/session/message")
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"session_id": "a b"}, "session_id"), ({"session_id": "x" * 129}, "session_id"), ({"message": ""}, "message"),
        ({"message": "x" * 32_001}, "message"), ({"metadata": {"a": {}}}, "metadata"), ({"text": "x"}, "text"),
        ({"attachments": "x"}, "attachments"), ({"attachments": ["/v1/attachments/none"]}, "attachments"),
    ],
)  # fmt: skip
def test_a_message_beyond_its_limits_is_422_and_says_where(talk: Talk, wrong: dict[str, Any], named: str) -> None:
    session_id = an_id("s-")

    problem = assert_problem(talk.client.post({"session_id": session_id, "message": "hello", **wrong}), 422)

    assert any(named in error["loc"] for error in problem["errors"]), problem
    assert talk.client.get(f"/v1/sessions/{session_id}").status_code == 404


@pytest.mark.promise("POST /v1/session/action")
def test_quick_actions_are_answered_by_the_model_about_this_conversation(talk: Talk) -> None:
    session_id = talk.talked("my boat is called Miso")
    path = "/v1/session/action"
    for action in ("summarize", "next_steps", "status_report", "nudge"):
        body = {"session_id": session_id, "action": action, "persona_id": "ann", "metadata": talk.metadata}

        receipt = talk.call("POST", path, **body)

        assert (receipt["accepted"], receipt["session_id"]) == (True, session_id)
        assert talk.ended(session_id)["type"] == "assistant.final"
        (asked,) = [event for event in talk.events(session_id) if event["event_id"] == receipt["event_id"]]
        assert (asked["persona_id"], asked["metadata"]["action"]) == ("ann", action)
        heard = talk.model.sent[-1]["messages"]
        assert heard[-1]["content"] == asked["message"]
        assert {"role": "user", "content": "my boat is called Miso"} in heard
    dance = {"session_id": session_id, "action": "dance"}
    assert assert_problem(talk.client.call("POST", path, json=dance), 400)["detail"].startswith("Unknown action")
    nowhere = {"session_id": an_id("s-"), "action": "nudge"}
    assert_problem(talk.client.call("POST", path, json=nowhere), 404)


def by_action(talk: Talk, session_id: str, paused: bool) -> None:
    told = talk.call("POST", "/v1/session/action", session_id=session_id, action="pause" if paused else "resume")
    assert (told["accepted"], told["session_id"]) == (True, session_id)


def by_switch(talk: Talk, session_id: str, paused: bool) -> None:
    told = talk.call("POST", f"/v1/sessions/{session_id}/pause", paused=paused)
    assert told == {"status": "paused" if paused else "released", "session_id": session_id}


@pytest.mark.promise("POST /v1/session/action", "POST /v1/sessions/{session_id}/pause")
@pytest.mark.parametrize("hold", [by_action, by_switch])
def test_a_held_session_takes_messages_and_answers_them_in_order_once_it_is_released(talk: Talk, hold: Any) -> None:
    session_id = talk.talked("one")
    before = talk.types(session_id)

    hold(talk, session_id, True)
    talk.say("two", session_id)
    talk.say("three", session_id)
    talk.talked("elsewhere answers are given")

    assert talk.types(session_id) == [*before, *["user", "assistant.started"] * 2]
    assert talk.call("GET", f"/v1/sessions/{session_id}")["paused"] is True
    hold(talk, session_id, False)
    talk.ended(session_id)
    finals = [event["message"] for event in talk.events(session_id) if event["type"] == "assistant.final"]
    assert finals == [answer_to(text) for text in ("one", "two", "three")]
    assert talk.call("GET", f"/v1/sessions/{session_id}")["paused"] is False


@pytest.mark.promise("POST /v1/session/{session_id}/cancel")
def test_the_answer_that_is_given_stops_within_two_seconds_and_so_does_the_models_call(talk: Talk) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    cancel = f"/v1/session/{session_id}/cancel"
    with talk.client.sse(session_id) as items:
        next(item for item in items if item["type"] == "assistant.delta")
        began = time.monotonic()
        assert talk.call("POST", cancel) == {"cancelled": True}
        end = next(item for item in items if item["type"] in ENDINGS)
        took = time.monotonic() - began

    assert (end["type"], end["message"]) == ("assistant.cancelled", held.first)
    assert took < 2 + BUSY_SECONDS
    assert held.hung_up.wait(max(0.0, 2 + BUSY_SECONDS - took)), "the model goes on for nobody"
    assert talk.call("POST", cancel) == {"cancelled": False}
    assert_problem(talk.client.call("POST", f"/v1/session/{an_id()}/cancel", json={}), 404)


@pytest.mark.promise("POST /v1/session/{session_id}/cancel")
def test_a_message_that_waits_is_stopped_by_its_name_and_the_others_are_answered(talk: Talk) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    unwanted, wanted = talk.say("not this", session_id), talk.say("but this", session_id)
    cancel = f"/v1/session/{session_id}/cancel"

    assert talk.call("POST", cancel, event_id=unwanted["event_id"]) == {"cancelled": True}
    assert talk.call("POST", cancel, event_id=an_id()) == {"cancelled": False}
    held.may_go_on.set()

    assert talk.ended(session_id)["message"] == answer_to("but this")
    ends = [event["type"] for event in talk.events(session_id) if event["type"] in ENDINGS]
    assert ends == ["assistant.cancelled", "assistant.final", "assistant.final"]
    assert talk.call("POST", cancel, event_id=wanted["event_id"]) == {"cancelled": False}


@pytest.mark.promise("GET /v1/session/{session_id}/events", "WS /v1/session/{session_id}/stream")
def test_both_streams_tell_what_was_kept_and_go_on_behind_any_cursor(talk: Talk) -> None:
    session_id = talk.talked("hello")
    kept = talk.events(session_id)

    def by_websocket(after: str) -> list[Item]:
        with talk.client.websocket(session_id, after) as ws:
            return [json.loads(ws.recv()) for _ in kept[int(after or 0) :]]

    for event in [{"cursor": ""}, *kept[:-1]]:
        rest = [each for each in kept if each["seq"] > int(event["cursor"] or 0)]
        for told in (talk.streamed(session_id, event["cursor"]), by_websocket(event["cursor"])):
            assert [but_cursor(item) for item in told] == [but_cursor(item) for item in rest]
    with talk.client.sse(session_id, **{"Last-Event-ID": kept[2]["cursor"]}) as items:
        assert next(items)["seq"] == kept[3]["seq"]
    assert_problem(talk.client.get(f"/v1/session/{an_id()}/events"), 404)


@pytest.mark.promise("GET /v1/sessions", "GET /v1/sessions/{session_id}")
def test_sessions_are_listed_newest_first_page_by_page_and_by_tenant(talk: Talk) -> None:
    other = talk.of(an_id("t-"))
    made = [other.say(f"number {number}", persona_id="ann")["session_id"] for number in range(3)]

    def page(**query: Any) -> requests.Response:
        return talk.client.get("/v1/sessions", params={"tenant": other.tenant, **query})

    first = page(limit=2).json()
    rest = page(limit=2, after=first["next_cursor"]).json()
    assert [item["session_id"] for item in [*first["items"], *rest["items"]]] == made[::-1]
    assert rest["next_cursor"] is None
    item = rest["items"][0]
    assert set(item) >= SESSION
    assert (item["tenant"], item["persona_id"], item["paused"]) == (other.tenant, "ann", False)
    other.ended(made[0])
    assert set(talk.call("GET", f"/v1/sessions/{made[0]}")) == set(item)
    assert made[0] in {each["session_id"] for each in talk.call("GET", "/v1/sessions", limit=200)["items"]}
    for query in ({"limit": 0}, {"limit": 201}, {"after": "nonsense"}, {"since": 1}):
        assert_problem(page(**query), 422, *query)


@pytest.mark.promise("GET /v1/sessions/{session_id}/events", "GET /v1/sessions/{session_id}/events/{seq}")
def test_events_are_listed_oldest_first_page_by_page(talk: Talk) -> None:
    session_id = talk.talked("hello")
    path = f"/v1/sessions/{session_id}/events"

    pages, after = [], 0
    while after is not None:
        pages.append(talk.call("GET", path, after=after, limit=2))
        after = pages[-1]["next_cursor"]

    events = [event for page in pages for event in page["events"]]
    assert {page["session_id"] for page in pages} == {session_id}
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["payload"]["created_at"][:19] == event["occurred_at"][:19] for event in events)
    assert [event["payload"] for event in events] == talk.events(session_id)
    assert talk.call("GET", f"{path}/2") == events[1]
    for query in ({"limit": 0}, {"limit": 501}, {"after": -1}, {"after": "x"}):
        assert_problem(talk.client.get(path, params=query), 422, *query)
    for nowhere in (f"{path}/99", f"/v1/sessions/{an_id()}/events"):
        assert_problem(talk.client.get(nowhere), 404)


@pytest.mark.promise("GET /v1/sessions/{session_id}/history")
def test_the_history_is_markdown_of_what_was_said_and_an_estimate_of_its_tokens(talk: Talk) -> None:
    path = f"/v1/sessions/{talk.talked('one', 'two')}/history"

    whole, last = talk.call("GET", path), talk.call("GET", path, limit=1)

    said = [part for text in ("one", "two") for part in ("### User", text, "### Assistant", answer_to(text))]
    assert whole["history"] == "\n\n".join(said)
    assert last["history"] == "\n\n".join(said[-2:])
    assert whole["tokens"] > last["tokens"] > 0
    assert_problem(talk.client.get(f"/v1/sessions/{an_id()}/history"), 404)


def shown_and_sent(talk: Talk) -> tuple[Item, Item] | None:
    """What a held session's window shows and what the model is then sent; None where either came without memories,
    because the time for recalling them was over.
    """
    session_id, question = talk.talked("hello"), an_id("what is my boat called? ")
    by_switch(talk, session_id, True)
    talk.say(question, session_id, persona_id="ann")
    window = talk.call("GET", f"/v1/sessions/{session_id}/context-window")
    by_switch(talk, session_id, False)
    talk.ended(session_id)
    sent = talk.model.told(question)
    return (window, sent) if all("Miso" in told[0]["content"] for told in (window["messages"], sent)) else None


@pytest.mark.promise("GET /v1/sessions/{session_id}/context-window")
def test_the_context_window_is_exactly_what_the_model_is_sent_next(talk: Talk) -> None:
    other = talk.of(an_id("t-"))
    elsewhere = other.talked("my boat is called Miso")
    listed = {"tenant": other.tenant, "session_id": elsewhere}
    eventually(lambda: len(talk.call("GET", "/v1/admin/memory", **listed)["items"]) == 2)

    window, sent = eventually(lambda: shown_and_sent(other))

    assert window["messages"] == sent
    assert json.loads(window["content"]) == sent
    assert [line["role"] for line in sent] == ["system", "user", "assistant", "user"]
    assert window["tokens"] > 0
    assert_problem(talk.client.get(f"/v1/sessions/{an_id()}/context-window"), 404)

"""GET /v1/sessions/<id>/context-window: exactly what the model would be told next."""

import json

import pytest

from tests.builders import an_id
from tests.integration.gateway_process import Answerer, Gateway, assert_problem

pytestmark = pytest.mark.servers


def test_the_window_shows_what_was_said_and_what_is_remembered(gateway: Gateway, answerer: Answerer) -> None:
    mark = an_id("boat").replace("-", "")
    gateway.say(f"my {mark} is called Miso")
    session_id = an_id("s-")
    asked = gateway.say(f"what is my {mark} called?", session_id)
    answerer.answer(asked["event_id"], "It is called Miso.")

    window = gateway.get(f"/v1/sessions/{session_id}/context-window").json()

    system, user, assistant = window["messages"]
    assert (system["role"], user["role"], assistant["role"]) == ("system", "user", "assistant")
    assert user["content"] == f"what is my {mark} called?"
    assert assistant["content"] == "It is called Miso."
    assert json.dumps(f"my {mark} is called Miso") in system["content"]
    assert json.loads(window["content"]) == window["messages"]
    assert window["tokens"] > 20


def test_an_unknown_session_has_no_window(gateway: Gateway) -> None:
    assert_problem(gateway.get(f"/v1/sessions/{an_id('s-')}/context-window"), 404, "session")


def test_a_session_knows_what_its_last_message_was_about(gateway: Gateway) -> None:
    session_id = an_id("s-")
    gateway.say("My lawyer is great.", session_id)
    gateway.say("What does a contract cost?", session_id)

    found = [each for each in gateway.get("/v1/sessions").json()["items"] if each["session_id"] == session_id]

    assert found[0]["analysis"] == {"intent": "question", "sentiment": "neutral", "tags": ["law", "money"]}

"""Stopping an answer of the real model on the whole running system."""

import time

import pytest

from devstack.stack import Stack
from tests.acceptance.following import Follower, call
from tests.conftest import eventually

pytestmark = pytest.mark.servers


def test_an_answer_is_stopped_while_it_is_given_and_the_next_message_is_answered(stack: Stack) -> None:
    gateway = stack.url("gateway")
    message = {"message": "Write a long story about a boat.", "metadata": {"tenant": "t-stop"}}
    accepted = call(gateway, "/v1/session/message", message)
    follower = Follower(gateway, accepted["session_id"], memories=0)
    follower.start()
    eventually(lambda: follower.pieces > 3)
    began = time.monotonic()

    assert call(gateway, f"/v1/session/{accepted['session_id']}/cancel", {}) == {"cancelled": True}

    (end,) = eventually(lambda: follower.endings)
    assert time.monotonic() - began < 2 + 3  # a busy machine may add some
    assert end["type"] == "assistant.cancelled"
    assert end["message"].startswith(follower.text[:20])
    assert call(gateway, f"/v1/session/{accepted['session_id']}/cancel", {}) == {"cancelled": False}
    again = call(gateway, "/v1/session/message", {**message, "session_id": accepted["session_id"]})
    reader = Follower(gateway, again["session_id"], memories=0)
    reader.cursor = follower.cursor
    reader.start()
    eventually(lambda: [each["type"] for each in reader.endings] == ["assistant.final"])

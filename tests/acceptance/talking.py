"""Conversations on the running stack with a model that follows a script, saved as a profile like anybody's.

Only HTTP and websockets are used; the scripted model is a server of its own that the stack's workers call.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.following import ENDINGS
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import GatewayClient
from tests.unit.model_peer import Line, ModelPeer, Reply

Item = dict[str, Any]
MODEL = "scripted-1"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
_PROFILES_ARE_KNOWN_SECONDS = 2.1
"""Every process reads them again after two seconds."""


def answer_to(text: str) -> str:
    """What the scripted model says where nothing else was arranged."""
    return f"You said: {text}."


def but_cursor(item: Item) -> Item:
    """A durable event without what differs where a stream has brought a part of an answer before it."""
    return {name: value for name, value in item.items() if name != "cursor"}


class Held:
    """An answer that stops in the middle until it may go on, or until its reader hangs up."""

    def __init__(self, first: str, rest: str) -> None:
        self.first, self.rest = first, rest
        self.may_go_on = threading.Event()
        self.hung_up = threading.Event()

    def reply(self, line: Line) -> None:
        """Say the first half, wait, say the rest."""
        line.begin()
        line.say(self.first)
        while not self.may_go_on.is_set():
            if line.wait(0.02):
                self.hung_up.set()
                return
        line.say(self.rest, finish="stop")
        line.event("[DONE]")


def _asked(line: Line) -> str:
    """The last message; one that found no answer stands before it in the same line."""
    return str(line.body["messages"][-1]["content"]).rpartition("\n\n")[2]


def _repeat(line: Line) -> None:
    line.begin()
    line.say("You ", "said: ", f"{_asked(line)}.", finish="stop")
    line.event({"choices": [], "usage": USAGE})
    line.event("[DONE]")


@dataclass
class PlayedModel:
    """Repeats what it is told, unless something else was arranged for this very message; `sent` is what it was sent."""

    parts: dict[str, Reply] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, line: Line) -> None:
        """To one request."""
        self.sent.append(line.body)
        self.parts.get(_asked(line), _repeat)(line)

    def told(self, text: str) -> list[dict[str, Any]]:
        """The messages of the one request whose last message was this."""
        (found,) = [body["messages"] for body in self.sent if body["messages"][-1]["content"] == text]
        return list(found)


@dataclass(frozen=True)
class Talk:
    """A client, the profile of the scripted model, and a tenant of one's own."""

    client: GatewayClient
    model: PlayedModel
    profile: str
    tenant: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Of a message that the scripted model is to answer."""
        return {"tenant": self.tenant, "agent_profile_id": self.profile}

    def of(self, tenant: str) -> "Talk":
        """The same for another tenant."""
        return Talk(self.client, self.model, self.profile, tenant)

    def say(self, text: str, session_id: str = "", **fields: Any) -> Item:
        """An accepted message's receipt."""
        return self.client.say(text, session_id, **{"metadata": self.metadata, **fields})

    def hold(self, first: str = "Once upon ", rest: str = "a time.", session_id: str = "") -> tuple[Item, Held]:
        """The receipt of a message whose answer stops in the middle."""
        held, text = Held(first, rest), an_id("hold ")
        self.model.parts[text] = held.reply
        return self.say(text, session_id), held

    def call(self, method: str, path: str, **body: Any) -> Item:
        """The JSON of a good answer."""
        answer = self.client.call(method, path, **({"json": body} if method in ("POST", "PATCH") else {"params": body}))
        assert answer.status_code == 200, answer.text
        found: Item = answer.json()
        return found

    def events(self, session_id: str) -> list[Item]:
        """All durable events of a session."""
        listed = self.call("GET", f"/v1/sessions/{session_id}/events", limit=500)["events"]
        return [event["payload"] for event in listed]

    def types(self, session_id: str) -> list[str]:
        """Their types, in order."""
        return [event["type"] for event in self.events(session_id)]

    def ended(self, session_id: str) -> Item:
        """The last end, once every message has one; none has two."""
        eventually(lambda: self._ends(session_id) and len(self._ends(session_id)) >= self._messages(session_id))
        ends = self._ends(session_id)
        assert len(ends) == self._messages(session_id)
        return ends[-1]

    def _ends(self, session_id: str) -> list[Item]:
        return [event for event in self.events(session_id) if event["type"] in ENDINGS]

    def _messages(self, session_id: str) -> int:
        return self.types(session_id).count("user")

    def talked(self, *texts: str, session_id: str = "") -> str:
        """A session in which each of these messages was answered before the next was sent."""
        session_id = session_id or an_id("s-")
        for text in texts:
            self.say(text, session_id)
            assert self.ended(session_id)["type"] == "assistant.final"
        return session_id

    def streamed(self, session_id: str, after: str = "", until: frozenset[str] | str = ENDINGS) -> list[Item]:
        """Items of the stream up to the first of this type, or to the first end; without news of memories."""
        wanted = {until} if isinstance(until, str) else until
        found: list[Item] = []
        with self.client.sse(session_id, after) as items:
            for item in items:
                found += [item] if item["type"] != "memory.status" or item["type"] in wanted else []
                if item["type"] in wanted:
                    return found
        raise AssertionError("the stream ended")


@contextmanager
def talking(base: str) -> Iterator[Talk]:
    """A scripted model that the stack behind this address knows as long as the block runs."""
    model, profile = PlayedModel(), an_id("scripted-")[:40]
    peer = ModelPeer(model.reply, [{"id": MODEL}])
    talk = Talk(GatewayClient(base), model, profile, an_id("t-"))
    try:
        with known_profile(talk.client, profile, peer.base, model=MODEL):
            yield talk
    finally:
        peer.close()


@contextmanager
def known_profile(client: GatewayClient, name: str, base_url: str, **fields: Any) -> Iterator[None]:
    """A profile that every process knows as long as the block runs.

    Whoever wants it names it; it also stands in for the built-in model for who names none.
    """
    body = {"name": name, "base_url": base_url, "position": 1000, **fields}
    assert client.call("POST", "/v1/model-profiles", json=body).status_code == 201
    saved_at = time.monotonic()
    try:
        eventually(lambda: time.monotonic() > saved_at + _PROFILES_ARE_KNOWN_SECONDS)
        yield
    finally:
        client.call("DELETE", f"/v1/model-profiles/{name}")

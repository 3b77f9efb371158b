"""Every event of a session's stream, and the line that carries it, on the whole running system."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest
import requests
import websocket

from devstack.stack import Stack
from tests.acceptance.following import ENDINGS
from tests.acceptance.talking import MODEL, USAGE, Item, Talk, answer_to, but_cursor, talking
from tests.builders import an_id
from tests.conftest import eventually
from tests.unit.model_peer import Line

pytestmark = pytest.mark.servers
ENVELOPE = {
    "event_id", "session_id", "persona_id", "role", "message", "metadata", "version", "type", "seq", "cursor",
    "created_at",
}  # fmt: skip
PING_SECONDS = 15.0


@pytest.fixture(scope="module")
def talk(stack: Stack) -> Iterator[Talk]:
    with talking(stack.url("gateway")) as found:
        yield found


def of_type(items: list[Item], kind: str) -> list[Item]:
    return [item for item in items if item["type"] == kind]


class Quiet(threading.Thread):
    """Two readers of a session in which nothing happens, and when they heard a sign of life."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(daemon=True)
        self.session_id = talk.talked("hello")
        eventually(lambda: _all_replicated(talk, self.session_id))
        self._talk = talk
        self.waited: dict[str, float] = {}

    def run(self) -> None:
        """Wait on both doors at once."""
        other = threading.Thread(target=self._by_websocket, daemon=True)
        other.start()
        url = f"{self._talk.client.base}/v1/session/{self.session_id}/events"
        with requests.get(url, stream=True, timeout=30) as answer:
            quiet_since = time.monotonic()
            for line in answer.iter_lines(chunk_size=1):
                if line.startswith(b":"):
                    break
                quiet_since = time.monotonic()
        self.waited["a comment"] = time.monotonic() - quiet_since
        other.join()

    def _by_websocket(self) -> None:
        with self._talk.client.websocket(self.session_id) as ws:
            quiet_since = time.monotonic()
            while json.loads(ws.recv()) != {"type": "ping"}:
                quiet_since = time.monotonic()
        self.waited["a ping"] = time.monotonic() - quiet_since


def _all_replicated(talk: Talk, session_id: str) -> bool:
    states = talk.streamed(session_id, until="memory.status")[-1]["metadata"]
    return len(states) == 2 and set(states.values()) == {"replicated"}


@pytest.fixture(scope="module", autouse=True)
def quiet(talk: Talk) -> Quiet:
    """Silence takes a quarter of a minute: it begins before everything else."""
    readers = Quiet(talk)
    readers.start()
    return readers


@pytest.mark.promise("user", "assistant.started", "assistant.thinking", "assistant.final")
def test_a_turn_is_accepted_begun_and_answered(talk: Talk) -> None:
    session_id = talk.talked("hello")

    events = talk.events(session_id)

    (user,), (started,) = of_type(events, "user"), of_type(events, "assistant.started")
    (thinking,), (final,) = of_type(events, "assistant.thinking"), of_type(events, "assistant.final")
    assert user["seq"] < started["seq"] < thinking["seq"] < final["seq"] == len(events)
    assert (user["role"], user["message"]) == ("user", "hello")
    assert {event["role"] for event in (started, thinking, final)} == {"assistant"}
    assert (started["message"], started["metadata"]["status"]) == ("", "started")
    assert thinking["metadata"]["attempt"] == 1
    told = final["metadata"]
    assert (final["message"], told["status"]) == (answer_to("hello"), "completed")
    assert MODEL in told["source"]
    assert told["usage"] == {"input_tokens": USAGE["prompt_tokens"], "output_tokens": USAGE["completion_tokens"]}


@pytest.mark.promise("assistant.delta")
def test_the_new_text_comes_while_it_is_said_with_its_place_in_the_answer(talk: Talk) -> None:
    receipt, held = talk.hold()
    with talk.client.sse(receipt["session_id"]) as items:
        first = next(item for item in items if item["type"] == "assistant.delta")
        assert held.first.startswith(first["message"]), "before the answer is whole"
        held.may_go_on.set()
        rest = [item for item in _up_to_the_end(items) if item["type"] in ("assistant.delta", "assistant.final")]

    text = ""
    *deltas, final = [first, *rest]
    for delta in deltas:
        assert (delta["metadata"], delta["role"]) == ({"offset": len(text), "attempt": 1}, "assistant")
        assert "seq" not in delta
        text += delta["message"]
    assert text == final["message"] == held.first + held.rest


def _up_to_the_end(items: Iterator[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        if item["type"] in ENDINGS:
            return


@pytest.mark.promise("assistant.reset")
def test_a_new_attempt_tells_readers_to_forget_the_text_of_the_earlier_one(talk: Talk) -> None:
    question, heard = an_id("break off "), threading.Event()

    def break_off_once(line: Line) -> None:
        line.begin()
        if not heard.is_set():
            line.say("Wrong words")
            heard.wait(20)
            return
        line.say("Right ", "words", finish="stop")
        line.event("[DONE]")

    talk.model.parts[question] = break_off_once
    with talk.client.sse(talk.say(question)["session_id"]) as items:
        told = []
        for item in _up_to_the_end(items):
            told.append(item)
            if item["type"] == "assistant.delta":
                heard.set()

    (reset,) = of_type(told, "assistant.reset")
    place = told.index(reset)
    assert "".join(item["message"] for item in of_type(told[:place], "assistant.delta")) == "Wrong words"
    assert "".join(item["message"] for item in of_type(told[place:], "assistant.delta")) == told[-1]["message"]
    assert told[-1]["message"] == "Right words"
    assert (reset["role"], "seq" in reset) == ("assistant", False)
    assert reset["metadata"]["attempt"] == of_type(told, "assistant.thinking")[-1]["metadata"]["attempt"] == 2


@pytest.mark.promise("assistant.error")
def test_a_turn_that_the_model_refuses_ends_with_a_reason_for_people(talk: Talk) -> None:
    question = an_id("refuse ")
    talk.model.parts[question] = lambda line: line.answer(401, b'{"error": {"message": "Incorrect API key"}}')

    end = talk.streamed(talk.say(question)["session_id"])[-1]

    assert (end["type"], end["role"], end["message"]) == ("assistant.error", "assistant", "")
    assert end["metadata"]["reason"].endswith(".")
    assert "key" in end["metadata"]["reason"]
    assert "127.0.0.1" not in end["metadata"]["reason"]


@pytest.mark.promise("assistant.cancelled")
def test_a_turn_that_is_stopped_says_so_and_keeps_what_was_said(talk: Talk) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    talk.streamed(session_id, until="assistant.delta")

    talk.call("POST", f"/v1/session/{session_id}/cancel", event_id=receipt["event_id"])

    end = talk.streamed(session_id)[-1]
    assert (end["type"], end["role"], end["message"]) == ("assistant.cancelled", "assistant", held.first)
    assert end["metadata"]["reason"].endswith(".")


@pytest.mark.promise("policy.denied")
def test_a_turn_that_the_policy_does_not_allow_ends_with_what_was_asked_and_why(talk: Talk) -> None:
    question = an_id("may I? ")

    end = talk.streamed(talk.of("t-forbidden").say(question)["session_id"])[-1]

    assert (end["type"], end["role"], end["message"]) == ("policy.denied", "assistant", "")
    told = end["metadata"]["policy"]
    assert (told["action"], told["resource"]) == ("conversation.respond", talk.profile)
    assert "policy" in told["reason"]
    assert told["reason"].endswith(".")
    assert question not in json.dumps(talk.model.sent), "the model hears nothing of it"


@pytest.mark.promise("tool.start", "tool.result")
def test_a_call_of_a_tool_is_told_when_it_begins_and_with_its_result(talk: Talk) -> None:
    session_id, args = an_id("s-"), {"text": "hi \U0001f600"}
    body = {"session_id": session_id, "tool_name": "echo", "args": args, "metadata": {"tenant": talk.tenant}}

    call_id = talk.call("POST", "/v1/tool/request", **body)["event_id"]

    told = talk.streamed(session_id, until="tool.result")
    *starts, result = told
    assert [(item["type"], item["role"], item["metadata"]["status"]) for item in told] == [
        ("tool.start", "tool", "queued"), ("tool.start", "tool", "running"), ("tool.result", "tool", "success"),
    ]  # fmt: skip
    for item in told:
        assert (item["metadata"]["tool_name"], item["metadata"]["request_id"]) == ("echo", call_id)
    assert all(start["message"] == "" for start in starts)
    assert result["metadata"]["execution_time"] >= 0
    assert json.loads(result["message"]) == result["payload"] == args
    assert (result["tool_name"], result["status"], result["args"]) == ("echo", "success", args)


@pytest.mark.promise("context.update")
def test_a_turn_tells_what_recall_brought_to_it(talk: Talk) -> None:
    other = talk.of(an_id("t-"))
    other.talked("my boat is called Miso")

    def brought() -> Item | None:
        """None where the time for recalling was over."""
        found = of_type(other.events(other.talked("what is my boat called?")), "context.update")
        return found[0] if found[0]["metadata"]["results"] else None

    update = eventually(brought)

    assert (update["role"], update["message"]) == ("system", "")
    assert update["metadata"]["degraded"] in (True, False)
    results = {each["content"]: each for each in update["metadata"]["results"]}
    assert results["my boat is called Miso"]["role"] == "user"


@pytest.mark.promise("memory.status")
def test_readers_are_told_how_far_the_memories_of_their_session_are(talk: Talk) -> None:
    session_id, states, told = an_id("s-"), {}, []
    talk.say("hello", session_id)
    with talk.client.sse(session_id) as items:
        while len(states) < 2 or set(states.values()) != {"replicated"}:
            item = next(items)
            told += [item] if item["type"] == "memory.status" else []
            states |= told[-1]["metadata"] if told else {}

    said = {event["event_id"] for event in talk.events(session_id) if event["type"] in ("user", "assistant.final")}
    assert set(states) == said
    for item in told:
        assert (item["role"], "seq" in item) == ("system", False)
        assert set(item["metadata"].values()) <= {"accepted", "remembered", "replicated"}


@pytest.mark.promise("stream.reset")
@pytest.mark.parametrize("cursor", ["nonsense", "999", "1.2"])
def test_with_a_cursor_from_nowhere_both_streams_begin_at_the_beginning_and_say_so(talk: Talk, cursor: str) -> None:
    session_id = talk.talked("hello")

    with talk.client.websocket(session_id, cursor) as ws:
        by_websocket = [json.loads(ws.recv()) for _ in range(2)]

    for told in (talk.streamed(session_id, cursor)[:2], by_websocket):
        assert [item["type"] for item in told] == ["stream.reset", "user"]
        assert told[1]["seq"] == 1


@pytest.mark.parametrize("door", ["events", "websocket"])
def test_a_cursor_from_within_an_answer_goes_on_at_the_next_character_on_either_door(talk: Talk, door: str) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    seen = talk.streamed(session_id, until="assistant.delta")
    text, cursor = "".join(item["message"] for item in of_type(seen, "assistant.delta")), seen[-1]["cursor"]

    def rest(items: Iterator[Item]) -> list[Item]:
        held.may_go_on.set()
        return list(_up_to_the_end(items))

    if door == "events":
        with talk.client.sse(session_id, cursor) as items:
            told = rest(items)
    else:
        with talk.client.websocket(session_id, cursor) as ws:
            told = rest(json.loads(line) for line in iter(ws.recv, ""))

    for delta in of_type(told, "assistant.delta"):
        assert delta["metadata"]["offset"] == len(text)
        text += delta["message"]
    final = told[-1]
    assert final["message"] == held.first + held.rest
    assert final["message"].startswith(text)
    assert not of_type(told, "user")


def test_every_event_is_whole_on_the_line_and_numbered_without_a_gap(talk: Talk) -> None:
    session_id = talk.talked("one", "two")
    body = {"session_id": session_id, "tool_name": "echo", "args": {"text": "hi"}, "metadata": talk.metadata}
    talk.call("POST", "/v1/tool/request", **body)

    told = talk.streamed(session_id, until="tool.result")

    kept = talk.events(session_id)
    assert [event["seq"] for event in kept] == list(range(1, len(kept) + 1))
    assert [but_cursor(item) for item in told if "seq" in item] == [but_cursor(event) for event in kept]
    for event in kept:
        assert set(event) >= ENVELOPE
        assert (event["session_id"], event["version"]) == (session_id, "sa01-v2")
        assert datetime.fromisoformat(event["created_at"]).tzinfo
        assert isinstance(event["metadata"], dict)
    assert len({event["event_id"] for event in kept}) == len(kept)
    assert [event["type"] for event in kept if event["type"] in ENDINGS] == ["assistant.final"] * 2


def test_server_sent_events_are_an_id_and_data_and_say_first_when_to_come_back(talk: Talk) -> None:
    session_id = talk.talked("hello")
    url = f"{talk.client.base}/v1/session/{session_id}/events"

    lines = []
    with requests.get(url, stream=True, timeout=10) as answer:
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            lines.append(line)
            if line.startswith("data: ") and json.loads(line[6:])["type"] == "assistant.final":
                break

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert lines[:2] == ["retry: 1000", ""]
    for before, line in pairwise(lines):
        item = json.loads(line[6:]) if line.startswith("data: ") else {}
        assert line.partition(": ")[0] in ("", "id", "data"), line
        assert before == (f"id: {item['cursor']}" if "cursor" in item else before)


def closed(ws: "websocket.WebSocket") -> int:
    """The code with which the server ends this websocket."""
    code, data = ws.recv_data()
    while code != websocket.ABNF.OPCODE_CLOSE:
        code, data = ws.recv_data()
    return int(struct.unpack("!H", data[:2])[0])


def test_a_websocket_says_why_it_ends(talk: Talk) -> None:
    session_id = talk.talked("hello")
    with talk.client.websocket(session_id) as chatty:
        chatty.send("x" * 70_000)
        assert closed(chatty) == 1009
    with talk.client.websocket(session_id) as ws, talk.client.sse(session_id) as items:
        ws.recv(), next(items)
        talk.call("DELETE", f"/v1/sessions/{session_id}")
        assert closed(ws) == 4404
        assert all(item["session_id"] == session_id for item in items), "and the other stream ends, too"


@pytest.mark.parametrize(("origin", "status"), [("https://evil.example", 403), (None, 404)])
def test_whoever_may_not_follow_is_told_before_there_is_a_websocket(
    talk: Talk, origin: str | None, status: int
) -> None:
    session_id = talk.talked("hello") if origin else an_id("s-")
    url = f"{talk.client.base.replace('http', 'ws')}/v1/session/{session_id}/stream"

    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(url, timeout=10, origin=origin, suppress_origin=origin is None)

    assert refused.value.status_code == status


def test_silence_is_broken_on_both_doors_every_fifteen_seconds(quiet: Quiet) -> None:
    quiet.join(30)

    assert set(quiet.waited) == {"a comment", "a ping"}
    for sign, seconds in quiet.waited.items():
        assert PING_SECONDS - 1 <= seconds <= PING_SECONDS + 3, sign


def test_a_gateway_that_restarts_says_so_and_the_stream_goes_on_behind_the_cursor(stack: Stack, talk: Talk) -> None:
    receipt, held = talk.hold()
    session_id = receipt["session_id"]
    with talk.client.websocket(session_id) as ws:
        item: Item = {}
        while item.get("type") != "assistant.delta":
            item = json.loads(ws.recv())
        restarting = threading.Thread(target=stack.restart, args=("gateway",))
        restarting.start()
        assert closed(ws) == 1012
    restarting.join()
    held.may_go_on.set()

    told = talk.streamed(session_id, item["cursor"])

    assert (told[-1]["type"], told[-1]["message"]) == ("assistant.final", held.first + held.rest)
    assert not of_type(told, "stream.reset")

"""The drills' writers and their journal, against a scripted stand-in for the gateway over real HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from drills.load import Load, Shape, Target
from drills.model_peer import ModelPeer, answer_to
from drills.recorder import Message, Recorder, read_journal


class StandIn(ThreadingHTTPServer):
    """Accepts messages like the gateway does: one id per key; each `busy`-th is told 503, each `deaf`-th nothing."""

    daemon_threads = True

    def __init__(self, busy: int = 0, deaf: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.busy, self.deaf = busy, deaf
        self.taken: dict[str, dict[str, Any]] = {}
        self.posts = 0
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is part of the test."""


class _Door(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.posts += 1
            place = server.posts
        if server.busy and place % server.busy == 0:
            self.answer(503, {"detail": "later"}, {"Retry-After": "1"})
            return
        with server.lock:
            server.taken.setdefault(self.headers["Idempotency-Key"], body)
        if server.deaf and place % server.deaf == 0:
            self.close_connection = True
            return
        receipt = {"accepted": True, "session_id": body["session_id"], "event_id": self.headers["Idempotency-Key"]}
        self.answer(200, receipt, {})

    def answer(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def gateway() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def some_load(gateway: StandIn, path: Path, shape: Shape, at_least: int = 30) -> list[Message]:
    """What the journal says about a load that ran until so many messages were accepted."""
    recorder = Recorder(path)
    address = f"http://127.0.0.1:{gateway.server_address[1]}"
    load = Load(Target(address, "t1", "u1"), recorder, shape)
    load.start()
    deadline = time.monotonic() + 20
    while load.accepted < at_least and time.monotonic() < deadline:
        time.sleep(0.02)
    load.stop()
    recorder.close()
    with path.open(encoding="utf-8") as lines:
        return read_journal(lines)


def test_everything_that_was_sent_and_told_is_in_the_journal(gateway: StandIn, tmp_path: Path) -> None:
    messages = some_load(gateway, tmp_path / "journal", Shape(rate=200, writers=3, sessions=2))

    assert {message.key for message in messages} == set(gateway.taken)
    assert all(message.accepted and message.event_ids == {message.key} for message in messages)
    assert all(gateway.taken[message.key]["message"] == message.text for message in messages)
    assert sum(len(message.sent_at) for message in messages) == gateway.posts


def test_some_messages_are_sent_twice_under_one_key(gateway: StandIn, tmp_path: Path) -> None:
    messages = some_load(gateway, tmp_path / "journal", Shape(rate=200, writers=3, sessions=2, doubles=1.0))

    assert {len(message.sent_at) for message in messages} == {2}
    assert all(len(message.outcomes) == 2 for message in messages)


def test_a_busy_or_lost_answer_is_tried_again_with_the_same_key(gateway: StandIn, tmp_path: Path) -> None:
    gateway.busy, gateway.deaf = 7, 5

    messages = some_load(gateway, tmp_path / "journal", Shape(rate=100, writers=4, doubles=0))

    kinds = {outcome.kind for message in messages for outcome in message.outcomes}
    assert kinds == {"ok", "fail", "unknown"}
    assert all(message.accepted and not message.refused for message in messages)
    assert all(outcome.retry_after for message in messages for outcome in message.outcomes if outcome.kind == "fail")


def test_the_same_seed_says_the_same_words(gateway: StandIn, tmp_path: Path) -> None:
    shape = Shape(rate=200, writers=1, seed=7)
    runs = [some_load(gateway, tmp_path / name, shape) for name in ("one", "two")]

    assert [m.text for m in runs[0]][:30] == [m.text for m in runs[1]][:30]


def test_a_message_is_refused_only_when_every_attempt_was_answered_with_no() -> None:
    def told(*kinds: str) -> Message:
        lines = []
        for kind in kinds:
            lines.append({"op": "invoke", "at": 1.0, "key": "k", "session_id": "s", "text": "t"})
            if kind:
                lines.append({"op": kind, "at": 2.0, "key": "k", "seconds": 1.0, "status": 422})
        return read_journal(json.dumps(line) for line in lines)[0]

    assert told("fail").refused
    assert not told("fail", "unknown").refused
    assert not told("fail", "").refused
    assert not told("fail", "ok").refused


def test_the_scripted_model_streams_what_it_promises() -> None:
    request = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "m000001 café  🙂"}]}
    with ModelPeer() as model:
        answer = requests.post(f"{model.url}/chat/completions", json=request, timeout=5)
        listed = requests.get(f"{model.url}/models", timeout=5).json()

    lines = [line.removeprefix("data: ") for line in answer.content.decode().split("\n") if line]
    pieces = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    assert lines[-1] == "[DONE]"
    assert "".join(pieces) == answer_to("m000001 café  🙂")
    assert listed["data"][0]["id"]

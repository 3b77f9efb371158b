"""The gateway as it is deployed, in processes of its own, and a client that holds every answer to the contract."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import websocket
from sqlalchemy import Engine

from app.adapters.redis.live import RedisBroadcast
from app.adapters.scribe import SharedScribe
from app.adapters.sql.presence import Presence
from app.adapters.sql.stream_store import SqlStreamStore
from app.adapters.sql.transcripts import SqlTranscripts
from app.adapters.sql.turns import SqlTurns
from app.adapters.stop_watch import StopWatch
from app.domain.model_ports import Model
from app.domain.policy import Policy
from app.gateway.app import AREAS
from app.gateway.docs import openapi
from app.routing import ProcessName, command
from app.services.conversation import Conversation
from app.services.converse import converse
from app.services.plan_step import Tooling
from app.services.prepare_turn import Preparation
from app.settings import Settings
from app.wiring.process import SystemClock
from tests.builders import an_id
from tests.conftest import ROOT, eventually
from tests.fakes import RecordingDoorbell, RecordingNotes, ScriptedModel, ScriptedPolicy
from tests.fakes_parts import FixedRoster, Step, always_in_company

SAFE_HEADERS = {
    "X-API-Version": "v1",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
DESCRIBED = openapi([operation for area in AREAS for operation in area.operations], "")["paths"]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GatewayClient:
    """A program that uses a gateway that runs already, and holds every answer to the contract."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.port = int(base.rpartition(":")[2])
        self.http = requests.Session()
        # A connection that has been idle may be closed by the server at the moment at which it is used again.
        self.http.headers["Connection"] = "close"

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """One request; the answer has every header that every answer must have, is never a 500, and a good one has a
        status that the description names.
        """
        answer = self.http.request(method, self.base + path, timeout=10, **arguments)
        assert answer.status_code != 500, answer.text
        missing = {name: value for name, value in SAFE_HEADERS.items() if answer.headers.get(name) != value}
        assert not missing, missing
        assert answer.headers["X-Request-ID"]
        assert answer.headers["Content-Security-Policy"]
        if answer.ok:
            _assert_described(method, path, answer.status_code)
        return answer

    def get(self, path: str, **arguments: Any) -> requests.Response:
        return self.call("GET", path, **arguments)

    def post(self, body: Any, **headers: str) -> requests.Response:
        """Send a message; a dict as JSON, bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call(
            "POST", "/v1/session/message", data=raw, headers={"Content-Type": "application/json", **headers}
        )

    def say(self, text: str = "hello", session_id: str = "", **fields: Any) -> dict[str, Any]:
        """An accepted message's receipt."""
        answer = self.post({"message": text, "session_id": session_id or an_id("s-"), **fields})
        assert answer.status_code == 200, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    @contextmanager
    def sse(self, session_id: str, after: str = "", **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The items of the stream as server-sent events, each with the id that came with it."""
        path = f"{self.base}/v1/session/{session_id}/events"
        query = {"after": after} if after else {}
        with requests.get(path, params=query, headers=headers, stream=True, timeout=30) as answer:
            assert answer.status_code == 200, answer.text
            yield _items(answer)

    @contextmanager
    def websocket(self, session_id: str, after: str = "", **options: Any) -> Iterator["websocket.WebSocket"]:
        """An open websocket of the session's stream."""
        query = f"?after={after}" if after else ""
        url = f"ws://127.0.0.1:{self.port}/v1/session/{session_id}/stream{query}"
        opened = websocket.create_connection(url, timeout=20, suppress_origin=True, **options)
        try:
            yield opened
        finally:
            opened.close()

    def raw(self, request: bytes) -> bytes:
        """What comes back for these bytes, up to the end of the connection or two seconds of silence."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            connection.settimeout(2)
            found = b""
            try:
                while data := connection.recv(65_536):
                    found += data
            except TimeoutError:
                pass
            return found


class Gateway(GatewayClient):
    """gunicorn with its workers on the given servers, and a client of it."""

    def __init__(self, environment: dict[str, str], **variables: str) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in environment},
            **environment, "GATEWAY_PORT": str(self.port), "SOMA_BASE_URL": "http://127.0.0.1:1",
            "PROCESS_NAME": "gateway", "LOG_LEVEL": "WARNING", **variables,
        }  # fmt: skip

    def start(self) -> "Gateway":
        argv = [sys.executable, "-m", *command(ProcessName.GATEWAY)]
        self.process = subprocess.Popen(argv, cwd=ROOT, env=self._environment, start_new_session=True)
        eventually(self._answers, 60)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the gateway ended"
        try:
            return requests.get(f"{self.base}/healthz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)

    def kill_and_start(self) -> None:
        """SIGKILL for all of it, and another one at the same address."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)
        self.start()


def _assert_described(method: str, path: str, status: int) -> None:
    asked, name = path.partition("?")[0], method.lower()
    described = [
        calls[name]["responses"]
        for template, calls in DESCRIBED.items()
        if name in calls and re.fullmatch(re.sub("{[^}]+}", "[^/]+", template), asked)
    ]
    assert not described or any(str(status) in responses for responses in described), (method, path, status)


def _items(answer: requests.Response) -> Iterator[dict[str, Any]]:
    cursor = None
    for line in answer.iter_lines():
        if line.startswith(b"id: "):
            cursor = line[4:].decode()
        elif line.startswith(b"data: "):
            item = json.loads(line[6:])
            assert item.get("cursor") == cursor, "the id is the item's cursor"
            yield item
        elif not line:
            cursor = None


def assert_problem(answer: requests.Response, status: int, *words: str) -> dict[str, Any]:
    """The answer is a problem of this status that tells people what to do and nothing internal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "request_id"} <= problem.keys()
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["detail"].endswith((".", "!", "?"))
    for word in words:
        assert word in answer.text
    for leak in ("Traceback", "psycopg2", "sqlalchemy", "SELECT", "INSERT", "site-packages", "127.0.0.1"):
        assert leak not in answer.text
    return problem


NO_TOOLS = Tooling()
ALLOWS_ALL = ScriptedPolicy()


class Answerer:
    """A conversation worker inside the test, on the real servers, with a model that follows a script."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._presence = Presence(engine, "answerer", 30)
        self._turns = SqlTurns(engine, self._presence, 30)
        self._transcripts = SqlTranscripts(engine)
        self._stops = StopWatch(self._turns.asked_to_stop)
        self._broadcast = RedisBroadcast(settings.redis_url.get_secret_value())
        self._scribe = SharedScribe(self._turns.save_partials)
        self._streams = SqlStreamStore(engine)

    def kept_text(self, session_id: str) -> str:
        """As much of the running answer as is durable."""
        partial = self._streams.partial(session_id)
        return partial.text if partial else ""

    def answer(self, event_id: str, *steps: Step) -> str:
        """Run the turn of this message."""
        return self.answer_with(event_id, ScriptedModel(steps or ("Once ", "upon ", "a time.")))

    def answer_with(self, event_id: str, model: Model, tooling: Tooling = NO_TOOLS, policy: Policy = ALLOWS_ALL) -> str:
        """Run the turn of this message, as far as this model takes it with these tools."""
        conversation = Conversation(
            self._turns, model, self._broadcast, RecordingDoorbell(), SystemClock(), RecordingNotes(),
            Preparation(FixedRoster(), self._transcripts, "", tooling=tooling), ("", "wm"), always_in_company,
            self._stops, policy, self._scribe,
        )  # fmt: skip
        return converse(event_id, conversation)

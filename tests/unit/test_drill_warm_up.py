"""Before anything is measured, every pool is asked for much at once; nobody who asks is left waiting."""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from devstack.stack import Stack
from drills import warm_up
from drills.load import Target
from drills.model_peer import ModelPeer
from drills.report import Timeline
from drills.trouble import Stage
from tests.conftest import eventually


class _Everything(BaseHTTPRequestHandler):
    """Gateway and memory service in one; counts who asked for what, and how many lines were open at once."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    open_lines = 0
    most_lines = 0
    lock = threading.Lock()

    def handle(self) -> None:
        kind = type(self)
        with self.lock:
            kind.open_lines += 1
            kind.most_lines = max(kind.most_lines, kind.open_lines)
        try:
            super().handle()
        finally:
            with self.lock:
                kind.open_lines -= 1

    def do_GET(self) -> None:
        with self.lock:
            self.asked[self.path.split("?")[0]] += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asks closes the line without reading to the end."""


class _Stack:
    environment: Mapping[str, str] = {}
    data_dir = Path()

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, _name: str) -> str:
        return self._url


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage whose servers only count."""
    server = _Server(("127.0.0.1", 0), _Everything)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    stack = cast(Stack, _Stack(url))
    yield Stage(stack, ModelPeer(), Target(url, "t1", "u"), Timeline(), random.Random(1))
    server.shutdown()
    server.server_close()


def test_answers_streams_and_questions_are_asked_for_at_once_and_all_are_let_go(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "BEGIN_SECONDS", 0.0)  # nobody answers here

    warm_up.fill_pools(stage)

    assert _Everything.asked["/v1/session/message"] == warm_up.ANSWERS
    assert _Everything.asked["/v1/session/t1-warm-1/events"] == warm_up.STREAMS
    assert _Everything.asked["/v1/sessions/t1-warm-1/events"] == warm_up.QUESTIONS
    assert _Everything.asked["/memory/items"] == warm_up.QUESTIONS
    assert _Everything.most_lines >= warm_up.STREAMS + 2 * warm_up.QUESTIONS
    assert eventually(lambda: _Everything.open_lines == 0, 10)

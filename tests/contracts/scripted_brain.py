"""A SomaBrain that plays versions and faults over real sockets: what happens next is told to it beforehand."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from app.adapters.http.brain import HttpBrain
from app.domain.coordinates import coordinate_of
from app.domain.json_text import BadJson, parse_json
from app.settings import read
from tests.contracts import scripted_recall
from tests.contracts.scripted_recall import Speech, WrongForm, asked_in


@dataclass
class Seen:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedBrain:
    """Keeps memories in a dictionary and answers in one dialect, except where `next_answers` has a fault waiting."""

    prefix: str = ""
    dialect: str = "newest"
    speech: Speech = field(default_factory=Speech)
    next_answers: deque["Fault"] = field(default_factory=deque)
    always: "Fault | None" = None
    seen: list[Seen] = field(default_factory=list)
    kept: dict[tuple[str, str, str, str], dict[str, Any]] = field(default_factory=dict)
    writes: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    well: bool = True
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep the memory and say so in this server's dialect."""
        universe = body.get("universe") or "real"
        address = (body["tenant"], body["namespace"], universe, body["key"])
        repeat = self.kept.get(address) == body["value"]
        if not repeat:
            self.kept[address] = body["value"]
            self.writes[address] = self.writes.get(address, 0) + 1
        return _DIALECTS[self.dialect](body, coordinate_of(universe, body["key"]))

    def apply_all(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep a batch."""
        place = {name: body.get(name) for name in ("tenant", "namespace", "universe")}
        return {"ok": True, "results": [self.apply({**place, **item}) for item in body["items"]]}

    def apply_the_older_way(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep a payload that knows no place but its universe."""
        nowhere = {"tenant": "", "namespace": "", "universe": body.get("universe")}
        return self.apply({**nowhere, "key": body["payload"]["id"], "value": body["payload"]})

    def count(self, query: str) -> dict[str, Any]:
        """The figures of a drawer."""
        drawer = tuple(parse_qs(query)[name][0] for name in ("tenant", "namespace"))
        return {"wm_items": sum(at[:2] == drawer for at in self.kept), "circuit_open": False, "outbox_pending": 0}

    def routes(self, query: str) -> dict[str, Callable[[bytes], dict[str, Any]]]:
        """What this version answers, by path."""

        def asked(body: bytes) -> dict[str, Any]:
            return asked_in(self.speech.form, query, body)

        if self.speech.older:
            return {
                "/remember": lambda body: self.apply_the_older_way(parse_json(body)),
                "/recall": lambda body: scripted_recall.recall_the_older_way(self.speech, self.kept, asked(body)),
            }
        return {
            "/memory/remember": lambda body: self.apply(parse_json(body)),
            "/memory/remember/batch": lambda body: self.apply_all(parse_json(body)),
            "/memory/recall": lambda body: scripted_recall.recall(self.speech, self.kept, asked(body)),
            "/memory/metrics": lambda _body: self.count(query),
            "/link": lambda _body: {"ok": True},
            self.speech.deletes_at: lambda body: scripted_recall.forget(self.kept, parse_json(body)),
        }


def a_client(server: ScriptedBrain, **variables: str) -> HttpBrain:
    """Ours, of this server; more settings by name."""
    return HttpBrain.from_settings(read({"SOMA_BASE_URL": server.url, **variables}))


_DIALECTS: dict[str, Callable[[dict[str, Any], list[float]], dict[str, Any]]] = {
    "newest": lambda body, coordinate: {
        "ok": True, "tenant": body["tenant"], "namespace": body["namespace"], "key": body["key"],
        "coordinate": coordinate, "queued": False, "breaker_open": False, "promoted_to_wm": True,
        "persisted_to_ltm": True, "queued_for_ltm": False, "deduplicated": False, "importance": 0.5, "novelty": 0.5,
        "ttl_applied": False, "trace_id": body.get("trace_id"), "request_id": "theirs", "warnings": [], "signals": {},
    },
    "without the later fields": lambda _body, coordinate: {"ok": True, "coord": coordinate},
    "success": lambda _body, coordinate: {"success": True, "coordinate": coordinate, "request_id": 7},
}  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], brain: ScriptedBrain) -> None:
        super().__init__(address, _Handler)
        self.brain = brain

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._play(b"")

    def do_POST(self) -> None:
        self._play(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _play(self, body: bytes) -> None:
        brain = self.server.brain
        headers = {name.lower(): value for name, value in self.headers.items()}
        brain.seen.append(Seen(self.command, self.path, headers, body))
        fault = brain.next_answers.popleft() if brain.next_answers else brain.always
        if fault is not None:
            with suppress(OSError):
                fault(self, brain, body)
            return
        self._answer(brain, body)

    def _answer(self, brain: ScriptedBrain, body: bytes) -> None:
        if self.path == f"{brain.prefix}/health":
            return self.answer(200, {"ok": brain.well, "ready": brain.well, "components": {}, "memory_ok": brain.well})
        path, _, query = self.path.partition("?")
        call = brain.routes(query).get(path.removeprefix(brain.prefix)) if path.startswith(brain.prefix) else None
        if call is None:
            return self.answer(404, {"detail": "Not Found"})
        try:
            return self.answer(200, call(body))
        except WrongForm:
            return self.answer(brain.speech.wrong_form, {"detail": "another form, please"})
        except BadJson as error:
            return self.answer(422, {"detail": [{"loc": ["body"], "msg": str(error), "type": "value_error"}]})

    def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


Fault = Callable[[_Handler, ScriptedBrain, bytes], None]


def status(code: int, body: object = b"", **headers: str) -> Fault:
    """Answer this status; `retry_after="7"` becomes `Retry-After: 7`."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return lambda handler, _brain, _body: handler.answer(code, body, named)


def drop_at_once(handler: _Handler, _brain: ScriptedBrain, _body: bytes) -> None:
    """Close the connection instead of answering."""
    handler.drop()


def apply_then_drop(handler: _Handler, brain: ScriptedBrain, body: bytes) -> None:
    """Keep the memory and lose the answer."""
    brain.apply(json.loads(body))
    handler.drop()


def hang(handler: _Handler, brain: ScriptedBrain, _body: bytes) -> None:
    """Accept the request and never answer."""
    brain.stopping.wait(30)
    handler.drop()


def drip_headers(handler: _Handler, brain: ScriptedBrain, _body: bytes) -> None:
    """A status line, then one byte of a header at a time, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler, brain)


def drip_body(handler: _Handler, brain: ScriptedBrain, _body: bytes) -> None:
    """An answer that arrives one byte at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    _drip(handler, brain)


def drip_chunk_size(handler: _Handler, brain: ScriptedBrain, _body: bytes) -> None:
    """A chunk whose size never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    _drip(handler, brain)


def endless(handler: _Handler, brain: ScriptedBrain, _body: bytes) -> None:
    """Chunk after chunk as fast as it goes, without an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not brain.stopping.is_set():
        handler.wfile.write(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")


def broken_headers(handler: _Handler, _brain: ScriptedBrain, _body: bytes) -> None:
    """A header line that is none."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nthis is no header\r\nContent-Length: 2\r\n\r\n{}")
    handler.drop()


def late(seconds: float) -> Fault:
    """The right answer, after this long."""

    def play(handler: _Handler, brain: ScriptedBrain, body: bytes) -> None:
        brain.stopping.wait(seconds)
        handler._answer(brain, body)

    return play


def _drip(handler: _Handler, brain: ScriptedBrain) -> None:
    while not brain.stopping.wait(0.05):
        handler.wfile.write(b"1")

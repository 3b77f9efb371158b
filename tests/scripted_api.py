"""A gateway of few words: a real HTTP server that gives the answers of a script and keeps what it was asked."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer; `parts` are sent one by one, and after them the line breaks when `breaks` says so."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    parts: tuple[bytes, ...] = ()
    breaks: bool = False


Answer = Reply | Callable[[Asked], Reply]


def refusal(status: int, detail: str, **headers: str) -> Reply:
    """A problem as the gateway tells it."""
    return Reply({"title": "x", "status": status, "detail": detail}, status, headers)


class ScriptedApi:
    """The server; an address that the script does not know is answered 404 as the gateway does."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: dict[tuple[str, str], list[Answer]] = defaultdict(list)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """Answer so, one after the other; the last answer stays."""
        self._script[method, path] += answers

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        script = self._script.get((asked.method, asked.path))
        if not script:
            return refusal(404, "There is nothing here. GET /docs lists what there is.")
        found = script.pop(0) if len(script) > 1 else script[0]
        return found(asked) if callable(found) else found

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address, while it serves."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"api": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: ScriptedApi
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _serve(self) -> None:
        place = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.api.answer(Asked(self.command, place.path, dict(parse_qsl(place.query)), headers, body))
        with suppress(OSError):
            self._stream(reply) if reply.parts or reply.breaks else self._plain(reply)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _plain(self, reply: Reply) -> None:
        raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self._head(reply, {"Content-Length": str(len(raw))})
        self.wfile.write(raw)

    def _stream(self, reply: Reply) -> None:
        if not reply.parts:
            self.connection.shutdown(SHUT_RDWR)
            return
        self._head(reply, {"Transfer-Encoding": "chunked"})
        for part in reply.parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        if reply.breaks:
            self.connection.shutdown(SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _head(self, reply: Reply, more: dict[str, str]) -> None:
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **more, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

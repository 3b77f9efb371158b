"""A door in front of SomaBrain that can be made to misbehave: errors, refusals, dripping, garbage, huge, no reply."""

import http.client
import threading
import time
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

HUGE_BYTES: Final = 10_000_000
DRIP_SECONDS: Final = 0.5
RETRY_AFTER: Final = "7"


class Manner(Enum):
    """How calls are answered."""

    PASS = "pass"
    ERROR = "500"
    REFUSE = "429"
    DRIP = "drip"
    GARBAGE = "garbage"
    HUGE = "huge"
    APPLY_AND_DROP = "apply-and-drop"
    """SomaBrain does what it was asked to do, and nobody hears of it."""


class BrainFront:
    """Listens on loopback at `url` and passes calls on; `answered` counts those that were answered with a manner."""

    def __init__(self, target: str) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.front = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="brain-front", daemon=True)
        self.target = urlsplit(target)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.manner = Manner.PASS
        self.answered: dict[Manner, int] = dict.fromkeys(Manner, 0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    front: BrainFront

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are what a bad manner is for."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        manner = self.server.front.manner
        self.server.front.answered[manner] += 1
        ways = {
            Manner.ERROR: lambda: self._say(500, b'{"detail": "an error of the drill"}'),
            Manner.REFUSE: lambda: self._say(429, b'{"detail": "too many"}', ("Retry-After", RETRY_AFTER)),
            Manner.DRIP: self._drip,
            Manner.GARBAGE: lambda: self._say(200, b"<html>not SomaBrain</html>"),
            Manner.HUGE: lambda: self._say(200, b'{"ok": true, "x": "' + b"x" * HUGE_BYTES + b'"}'),
            Manner.APPLY_AND_DROP: lambda: self._pass_on(body),
        }
        if manner is Manner.PASS:
            self._say(*self._pass_on(body))
        else:
            ways[manner]()

    def _pass_on(self, body: bytes) -> tuple[int, bytes]:
        target = self.server.front.target
        link = http.client.HTTPConnection(target.hostname or "", target.port, timeout=10)
        with suppress(OSError, http.client.HTTPException):
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            link.request(self.command, self.path, body or None, headers)
            answer = link.getresponse()
            return answer.status, answer.read()
        return 502, b'{"detail": "SomaBrain is away"}'

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b" ")
            time.sleep(DRIP_SECONDS)

    def _say(self, status: int, body: bytes, header: tuple[str, str] = ("X-Front", "drill")) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the drill prints its own timeline."""

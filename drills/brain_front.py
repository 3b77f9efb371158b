"""A door in front of SomaBrain that can be made to misbehave: errors, refusals, dripping, garbage, huge, no reply."""

import http.client
import time
from contextlib import suppress
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from drills.http_peer import HttpPeer, QuietHandler

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


class BrainFront(HttpPeer):
    """Listens on loopback at `url` and passes calls on; `answered` counts those that were answered with a manner."""

    def __init__(self, target: str) -> None:
        super().__init__("brain-front", _Handler)
        self.url = self.address
        self.target = urlsplit(target)
        self.manner = Manner.PASS
        self.answered: dict[Manner, int] = dict.fromkeys(Manner, 0)


class _Handler(QuietHandler):
    def get(self) -> None:
        self._serve(b"")

    def post(self, body: bytes) -> None:
        self._serve(body)

    def _serve(self, body: bytes) -> None:
        manner = self.server.peer.manner
        self.server.peer.answered[manner] += 1
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
        target = self.server.peer.target
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

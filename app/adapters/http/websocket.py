"""The hardening that every websocket of ours gets, between gunicorn's socket and flask-sock.

Before the upgrade a door calls `check_upgrade`, which refuses foreign pages and broken handshakes while an HTTP answer
can still be given, and puts a `GuardedSocket` under the websocket. In the handler, `SafeSocket` is the only way to
speak:

    @app.before_request
    def guard() -> None:
        if is_upgrade(request.environ):
            g.slot = slots.take()
            check_upgrade(request.environ, allowed_origins)

    @sock.route("/stream")
    def stream(raw: Any) -> None:
        with SafeSocket(raw) as ws:
            while ws.open:
                ws.send_json(...)           # `SocketGone` when nobody is there; `with` takes it as the normal end

Our sockets only speak; what a client sends is bounded in size and rate and thrown away.
"""

import base64
import binascii
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from simple_websocket import ConnectionClosed  # type: ignore[import-untyped]
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from app.adapters.http.open_streams import STOPPING, bound_sending, client_socket
from app.domain.errors import Rejected
from app.domain.long_items import as_json

SOCK_SERVER_OPTIONS = {"max_message_size": 65_536}
"""For Flask's `SOCK_SERVER_OPTIONS`: a longer message is answered with close code 1009."""

LONGEST_ITEM_BYTES = 262_144
_SEND_SECONDS = 5
_LINGER_SECONDS = 1.0
_POLICY_FRAME = b"\x88\x02" + int(CloseReason.POLICY_VIOLATION).to_bytes(2, "big")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ForeignOrigin(Rejected):
    """A page of another origin asked for a websocket; browsers do not stop it, so we do."""


class SocketGone(Exception):
    """Nobody reads this websocket any more."""


def is_upgrade(environ: Mapping[str, Any]) -> bool:
    """Whether this request asks to become a websocket."""
    return "websocket" in str(environ.get("HTTP_UPGRADE", "")).lower()


def check_upgrade(environ: dict[str, Any], allowed_origins: Collection[str] = ()) -> None:
    """Refuse what must not become a websocket (`ForeignOrigin`: 403, `Rejected`: 400) and guard the rest."""
    if not own_origin(environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", ""), allowed_origins):
        raise ForeignOrigin("this page may not open a websocket here; list its origin in GATEWAY_CORS_ORIGINS")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13" or not _is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        raise Rejected("this is not a websocket handshake (RFC 6455, version 13)")
    if "upgrade" not in environ.get("HTTP_CONNECTION", "").lower():
        raise Rejected("a websocket handshake needs `Connection: Upgrade`")
    for offer in ("HTTP_SEC_WEBSOCKET_EXTENSIONS", "HTTP_SEC_WEBSOCKET_PROTOCOL"):
        environ.pop(offer, None)
    sock = client_socket(environ)
    if sock is not None:
        environ["gunicorn.socket"] = GuardedSocket(sock)


def own_origin(origin: str | None, host: str, allowed: Collection[str] = ()) -> bool:
    """Whether a page from `origin` may speak to this host. Programs send no origin and may; `null` may not."""
    if origin is None or origin in allowed:
        return True
    try:
        page = urlsplit(origin)
        if page.scheme not in _DEFAULT_PORTS or page.path or page.query or page.username:
            return False
        default = _DEFAULT_PORTS[page.scheme]
        server = urlsplit(f"//{host}")
        return page.hostname is not None and (page.hostname, page.port or default) == (
            server.hostname,
            server.port or default,
        )
    except ValueError:
        return False


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


class InputBudget:
    """How much a client may send us: a burst, refilled slowly. Large enough for any honest reader."""

    def __init__(self, burst: int = 98_304, per_second: float = 4_096.0) -> None:
        self._burst = float(burst)
        self._left = float(burst)
        self._per_second = per_second
        self._seen_at = 0.0

    def allows(self, count: int, now: float) -> bool:
        """Spend `count` bytes at `now` (seconds of a clock that never jumps); false once more came than may."""
        if self._seen_at:
            self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now
        self._left -= count
        return self._left >= 0


class GuardedSocket:
    """The socket under a websocket: frames go out whole, in one piece at a time, within seconds, or it is over.

    simple-websocket's reader thread and our sender share it. Only the server closes the descriptor, after the handler
    has returned: closed earlier, its number could already belong to another connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.gone = threading.Event()
        self._sock = sock
        self._lock = threading.Lock()
        self._budget = InputBudget()
        bound_sending(sock, _SEND_SECONDS)

    def recv(self, size: int) -> bytes:
        """What the client sent; a flood is answered with close code 1008 and reads as the end."""
        data = self._sock.recv(size)
        if data and not self._budget.allows(len(data), time.monotonic()):
            self.send(_POLICY_FRAME)
            return b""
        return data

    def send(self, data: bytes) -> int:
        """Write all of `data`, or break the connection: half a frame would spoil everything after it."""
        deadline = time.monotonic() + 2 * _SEND_SECONDS
        try:
            with self._lock:
                self._send_until(memoryview(data), deadline)
        except OSError:
            self.abort()
            raise
        return len(data)

    def _send_until(self, rest: memoryview, deadline: float) -> None:
        while rest:
            rest = rest[self._sock.send(rest) :]
            if rest and time.monotonic() > deadline:
                raise TimeoutError("the client reads too slowly")

    def close(self) -> None:
        """Say goodbye and wait a moment for the client's; without that, unread input would eat our last frame."""
        self.gone.set()
        try:
            self._sock.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _LINGER_SECONDS
            self._sock.settimeout(_LINGER_SECONDS)
            while time.monotonic() < deadline and self._sock.recv(65_536):
                pass
        except OSError:
            pass
        self.abort()

    def abort(self) -> None:
        """End the connection now; whoever waits in `recv` or `send` is woken."""
        self.gone.set()
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class SafeSocket:
    """One open websocket as its handler sees it; leaving the `with` block ends it and its reader thread."""

    def __init__(self, ws: Any) -> None:
        self._ws = ws
        self._sock: GuardedSocket = ws.sock
        ws.input_buffer = deque(maxlen=1)

    @property
    def open(self) -> bool:
        """Whether it is worth going on: somebody is there, and this process stays."""
        return bool(self._ws.connected) and not self._sock.gone.is_set() and not STOPPING.is_set()

    def wait(self, seconds: float) -> bool:
        """Rest up to so many seconds; true as soon as the client has left."""
        return self._sock.gone.wait(seconds)

    def send_json(self, item: Mapping[str, Any]) -> None:
        """Send one item as one text frame. One that is too long goes without its text, marked `truncated`."""
        text = as_json(item)
        if len(text) > LONGEST_ITEM_BYTES // 4 and len(text.encode()) > LONGEST_ITEM_BYTES:
            text = json.dumps({**item, "message": "", "metadata": {"truncated": True}}, ensure_ascii=False)
        self.send_text(text)

    def send_text(self, text: str) -> None:
        """Send one text frame. `SocketGone` when nobody is there."""
        try:
            self._ws.send(text)
        except (ConnectionClosed, LocalProtocolError, OSError):
            raise SocketGone from None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Tell the client why it ends, and wait a moment until it has heard."""
        try:
            self._ws.close(code, reason)
        except (ConnectionClosed, LocalProtocolError, OSError):
            self._sock.gone.set()
        self._sock.gone.wait(_LINGER_SECONDS)
        self._ws.thread.join(2 * _LINGER_SECONDS)
        self._sock.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is not None and not issubclass(kind, SocketGone):
            self.close(1011, "something went wrong here")
            return False
        self.close(*((1012, "restart") if STOPPING.is_set() else (1000, "")))
        return True

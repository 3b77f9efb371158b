"""What every server of long streams needs: a cap on open ones, word of a stop, and to know that a reader has left.

A stream holds a thread for as long as it is open, so a server that took them without limit would stop answering
plain requests; and a server that is told to stop has to end its streams itself, or its readers see a broken line
instead of "restart, come again".
"""

import signal
import socket
import struct
import threading
from types import FrameType
from typing import Any

from app.domain.errors import TooManyStreams

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)

STOPPING = threading.Event()
"""Set once this process was asked to stop; every stream ends within its next look at it."""


def announce_stop(_worker: object) -> None:
    """A gunicorn `post_worker_init` hook: SIGTERM also sets `STOPPING`, then does what it did before."""
    before: Any = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        STOPPING.set()
        before(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.siginterrupt(signal.SIGTERM, False)


class Slot:
    """The right to keep one stream open; giving it back twice does no harm."""

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots = slots
        self._held = True
        self._lock = threading.Lock()

    def release(self) -> None:
        with self._lock:
            held, self._held = self._held, False
        if held:
            self._slots.release()


class StreamSlots:
    """As many open streams as this process may serve, of whatever kind."""

    def __init__(self, limit: int) -> None:
        self._slots = threading.BoundedSemaphore(limit)

    def take(self) -> Slot:
        """One slot, at once; `TooManyStreams` when none is free. Ask before a handshake, so that 503 can be said."""
        if not self._slots.acquire(blocking=False):
            raise TooManyStreams("this server has as many open streams as it can serve; try again soon", 5.0)
        return Slot(self._slots)


def client_socket(environ: dict[str, Any]) -> socket.socket | None:
    """The connection behind a request, where the server tells it (gunicorn does)."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def client_left(sock: socket.socket) -> bool:
    """Whether the reader of an answer has hung up; looks without waiting and takes nothing out of the socket."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def bound_sending(sock: socket.socket, seconds: int = 5, silence_seconds: int = 20) -> None:
    """A reader that takes nothing for so long breaks the connection, instead of holding the thread that writes.

    `seconds` count while nothing can be written, and begin anew whenever the kernel finds room for some more;
    `silence_seconds` count from the last byte that the reader's side took, whatever room there is.
    """
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", seconds, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, silence_seconds * 1000)

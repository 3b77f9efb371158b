"""A total deadline for an HTTP exchange: timeouts of single reads never end a peer that drips a byte now and then."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class Deadline:
    """While the `with` block runs, every connection it is shown is broken off at the deadline."""

    def __init__(self, seconds: float) -> None:
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._over = False
        self._timer = threading.Timer(seconds, self._cut_off)
        self._timer.daemon = True

    @property
    def is_over(self) -> bool:
        """Whether the time has run out."""
        return self._over

    def watch(self, name: str, info: dict[str, Any]) -> None:
        """The `trace` extension of an httpx request: notes the connections that it opens."""
        if name in _OPENED:
            connection = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._connections.append(connection)
                if self._over:
                    _shut(connection)

    def _cut_off(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._connections:
                _shut(connection)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)

"""A total deadline for an HTTP exchange: timeouts of single reads never end a peer that drips a byte now and then."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class Deadline:
    """While the `with` block runs, every connection it is shown is broken off at the deadline. `admit` may raise for
    one that has just been opened, before anything is sent on it.
    """

    def __init__(self, seconds: float, admit: Callable[[socket.socket], None] = lambda _connection: None) -> None:
        self._admit = admit
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._over = self._hung_up = False
        self._began = time.monotonic()
        self._timer = self._timer_of(seconds)

    @property
    def is_over(self) -> bool:
        """Whether the time has run out."""
        return self._over

    def prolong(self, seconds: float) -> None:
        """Let it be so many seconds after its beginning instead; too late once it is over."""
        self._timer.cancel()
        self._timer = self._timer_of(max(self._began + seconds - time.monotonic(), 0))
        self._timer.start()

    def watch(self, name: str, info: dict[str, Any]) -> None:
        """The `trace` extension of an httpx request: notes the connections that it opens."""
        if name in _OPENED:
            connection = info["return_value"].get_extra_info("socket")
            self._admit(connection)
            with self._lock:
                self._connections.append(connection)
                if self._hung_up:
                    _shut(connection)

    def _timer_of(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._cut_off)
        timer.daemon = True
        return timer

    def _cut_off(self) -> None:
        self._over = True
        self.hang_up()

    def hang_up(self) -> None:
        """Break off now, and whatever is opened later."""
        with self._lock:
            self._hung_up = True
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

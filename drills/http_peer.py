"""What every HTTP peer of a drill has in common: a server on loopback while it is entered, quiet about its clients."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class HttpPeer:
    """Listens on a free port, or on this one, at `address`, bound from the beginning and served while entered.

    A handler finds the peer that it belongs to at `self.server.peer`.
    """

    def __init__(self, name: str, handler: type["QuietHandler"], port: int = 0) -> None:
        self._name, self._handler = name, handler
        self._listen(port)
        self.port = int(self._server.server_address[1])
        self.address = f"http://127.0.0.1:{self.port}"

    def _listen(self, port: int) -> None:
        self._server = _Server(("127.0.0.1", port), self._handler)
        self._server.peer = self
        self._thread = threading.Thread(target=self._server.serve_forever, name=self._name, daemon=True)

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block runs, nobody listens on its port; who is being answered hears the answer to its end."""
        self._end()
        try:
            yield
        finally:
            self._listen(self.port)
            self._thread.start()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    peer: Any
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are everyday business for a drill."""


class QuietHandler(BaseHTTPRequestHandler, ABC):
    """Says nothing: the drill prints its own timeline."""

    server: _Server

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    @abstractmethod
    def get(self) -> None:
        """Answer a GET."""

    @abstractmethod
    def post(self, body: bytes) -> None:
        """Answer a POST with this body."""

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

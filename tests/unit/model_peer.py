"""An OpenAI-compatible endpoint on loopback that does, for every request, exactly what a script says."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Reply = Callable[["Line"], None]


class Line:
    """One connection, seen by a script: the request that came, and ways to answer it."""

    def __init__(self, connection: socket.socket, peer: "ModelPeer") -> None:
        self._connection = connection
        self._peer = peer
        head, _, body = self._read()
        self.path = head.split(b" ")[1].decode() if head else ""
        lines = head.decode("latin-1").split("\r\n")[1:]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body: Any = json.loads(body) if body else None

    def _read(self) -> tuple[bytes, bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some()
        head, mark, body = data.partition(b"\r\n\r\n")
        found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(found[0].split(b":")[1]) if found else 0
        while len(body) < length:
            body += self._some()
        return head, mark, body

    def _some(self) -> bytes:
        data = self._connection.recv(65_536)
        if not data:
            raise ConnectionError
        return data

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{extra}Connection: close\r\n\r\n"
        self.send(head.encode() + body)

    def begin(self) -> None:
        """The head of an event stream; what follows ends with the connection."""
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")

    def say(self, *pieces: Any, finish: str | None = None) -> None:
        """Chunks with these texts, the last one with the finish reason."""
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            self.event(
                {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": finish if last else None}]}
            )

    def event(self, value: Any) -> None:
        self.send(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())

    def wait(self, seconds: float) -> bool:
        """Rest; true once the client is gone or the test is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._peer.over.wait(0.01) or self._is_gone():
                return True
        return False

    def _is_gone(self) -> bool:
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class ModelPeer:
    """The endpoint; `reply` serves completions, `list_models` what comes under `/models`."""

    def __init__(self, reply: Reply, models: Any = ({"id": "tiny"},)) -> None:
        self.reply = reply
        self.list_models: Reply = lambda line: line.answer(200, json.dumps({"object": "list", "data": models}).encode())
        self.lines: list[Line] = []
        self.over = threading.Event()
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ConnectionError):
            line = Line(connection, self)
            self.lines.append(line)
            if line.path.endswith("/models"):
                self.list_models(line)
            else:
                self.reply(line)
        self.left.set()

    def close(self) -> None:
        self.over.set()
        self._listener.close()

"""A reader whose line is cut at a chosen byte, again and again: raw bytes in, whole items out.

From one line to the next it keeps what a client keeps: the transcript, and the cursor of the last item that came whole.
"""

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from tests.integration.gateway_process import Gateway
from tests.unit.session_history import Reader

Item = dict[str, Any]
Ends = list[int]
CutAt = Callable[[Ends], int | None]
"""Where to cut, counted in bytes of the answer: it is told where the head and every item so far has ended, and says
None as long as it cannot know."""

SILENCE_SECONDS = 0.5
_LEAVE_WITH_A_RESET = struct.pack("ii", 1, 0)
_PATHS = {"sse": "events", "websocket": "stream"}
_UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
_STATUS = {"sse": b"200", "websocket": b"101"}


def at_byte(count: int) -> CutAt:
    """This byte of the answer."""
    return lambda _ends: count


def after_item(number: int, count: int) -> CutAt:
    """So many bytes after the item with this number on its line; 0 is the head of the answer."""
    return lambda ends: ends[number] + count if len(ends) > number else None


def never(_ends: Ends) -> None:
    """An unbroken line."""


class Incomplete(Exception):
    """What is there so far is not whole."""


class Wire:
    """The bytes of one answer as they come, cut into the head and items."""

    def __init__(self, door: str) -> None:
        self.door = door
        self.ends: Ends = []
        self._bytes = b""
        self._text = b""
        self._at = 0
        self._begun = False

    def __len__(self) -> int:
        return len(self._bytes)

    def take(self, data: bytes) -> Iterator[tuple[Item, int]]:
        """Items that are whole now, each with the place where it ended."""
        self._bytes += data
        while True:
            try:
                told = self._next()
            except Incomplete:
                return
            if told is None and self.ends:
                continue
            self.ends.append(self._at)
            if told is not None:
                yield told, self._at

    def _next(self) -> Item | None:
        """The next item; None for the head of the answer and for what is no item."""
        if not self._begun:
            return self._head()
        return self._event() if self.door == "sse" else self._frame()

    def _head(self) -> None:
        head = self._until(b"\r\n\r\n")
        if head.split(b" ", 2)[1] != _STATUS[self.door]:
            raise ConnectionError(f"refused: {head.decode()}")
        self._begun = True

    def _event(self) -> Item | None:
        while b"\n\n" not in self._text:
            self._text += self._chunk()
        block, _, self._text = self._text.partition(b"\n\n")
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        if b"data" not in fields:
            return None
        item: Item = json.loads(fields[b"data"])
        assert item.get("cursor", "").encode() == fields.get(b"id", b""), "the id is the item's cursor"
        return item

    def _chunk(self) -> bytes:
        start = self._at
        try:
            return self._exactly(int(self._until(b"\r\n"), 16) + 2)[:-2]
        except Incomplete:
            self._at = start
            raise

    def _frame(self) -> Item | None:
        start = self._at
        try:
            kind, length = self._exactly(2)
            if length >= 126:
                width = 2 if length == 126 else 8
                length = int.from_bytes(self._exactly(width))
            payload = self._exactly(length)
        except Incomplete:
            self._at = start
            raise
        return json.loads(payload) if kind == 0x81 else None

    def _until(self, mark: bytes) -> bytes:
        end = self._bytes.find(mark, self._at)
        if end < 0:
            raise Incomplete
        found, self._at = self._bytes[self._at : end], end + len(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        if len(self._bytes) < self._at + count:
            raise Incomplete
        found, self._at = self._bytes[self._at : self._at + count], self._at + count
        return found


class CutReader:
    """One reader of one session on one door.

    `cuts` tells of each: the cursor by then, and how many bytes later; `spans` how many bytes the head and each item
    took on a line that came whole.
    """

    def __init__(
        self, gateway: Gateway, session_id: str, door: str, reader: Reader | None = None, cursor: str = ""
    ) -> None:
        self.reader = reader or Reader()
        self.cursor = cursor
        self.cuts: list[tuple[str, int]] = []
        self.spans: list[int] = []
        self._gateway = gateway
        self._session_id = session_id
        self._door = door

    def follow(self, cut_at: CutAt, done: Callable[[], bool]) -> None:
        """One line, up to its cut, or until it is `done` or silent."""
        wire = Wire(self._door)
        with self._line() as line:
            for data in _pieces(line):
                for item, end in wire.take(data):
                    if self._is_cut(wire.ends[:-1], cut_at, end):
                        return
                    self._hear(item)
                    if done():
                        self.spans += [end - start for start, end in pairwise([0, *wire.ends])]
                        return
                if self._is_cut(wire.ends, cut_at, len(wire)):
                    return

    def _is_cut(self, ends: Ends, cut_at: CutAt, reached: int) -> bool:
        """Whether the line is cut before the byte `reached`: whatever came after that never came."""
        place = cut_at(ends)
        if place is None or place >= reached:
            return False
        self.cuts.append((self.cursor, place - max((end for end in ends if end <= place), default=0)))
        return True

    def _hear(self, item: Item) -> None:
        self.cursor = item.get("cursor", self.cursor)
        if item["type"] not in ("ping", "memory.status"):
            self.reader.hear(item)

    @contextmanager
    def _line(self) -> Iterator[socket.socket]:
        """An open connection with the request on its way; half of them end with a reset."""
        path = f"/v1/session/{self._session_id}/{_PATHS[self._door]}?after={self.cursor}"
        upgrade = _UPGRADE if self._door == "websocket" else ""
        with socket.create_connection(("127.0.0.1", self._gateway.port), timeout=10) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._gateway.port}\r\n{upgrade}\r\n".encode())
            yield line
            if len(self.cuts) % 2:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LEAVE_WITH_A_RESET)


def _pieces(line: socket.socket) -> Iterator[bytes]:
    """What comes, until it ends or is silent for long."""
    line.settimeout(10)
    while True:
        try:
            data = line.recv(65_536)
        except TimeoutError:
            return
        if not data:
            return
        yield data
        line.settimeout(SILENCE_SECONDS)

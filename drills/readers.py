"""Readers of streams: they drop and resume every few seconds, and write down everything that they are told.

A careful client in two forms, server-sent events and a websocket; both keep the last cursor and nothing else.
"""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlsplit

import websocket

from drills.record import Item, Transcript

HOLD_SECONDS: Final = (3.0, 7.0)
PAUSE_SECONDS: Final = 0.3
OPEN_SECONDS: Final = 5.0
KINDS: Final = ("sse", "websocket")
BROKEN: Final = (OSError, http.client.HTTPException, websocket.WebSocketException, ValueError)


class Reader(threading.Thread):
    """Follows one session until it has been told everything up to a last number, dropping the line all the time."""

    def __init__(self, gateway: str, session_id: str, kind: str, seed: int) -> None:
        super().__init__(name=f"reader-{kind}", daemon=True)
        self._gateway, self._session_id, self._kind = gateway, session_id, kind
        self._random = random.Random(f"{seed}/{session_id}")
        self._items: list[Item] = []
        self._cursor = ""
        self._last = 0
        self._goal: int | None = None
        self._given_up = threading.Event()
        self._resumes = 0

    @property
    def session_id(self) -> str:
        """The session that it follows."""
        return self._session_id

    @property
    def resumes(self) -> int:
        """How often it has taken up the line again."""
        return self._resumes

    def finish(self, last: int) -> None:
        """End as soon as the durable event with this number was told."""
        self._goal = last

    def give_up(self) -> None:
        """End at the next opportunity."""
        self._given_up.set()

    def transcript(self) -> Transcript:
        """What it was told so far."""
        return Transcript(self._session_id, self._kind, tuple(self._items), self._resumes, self._goal or 0)

    def run(self) -> None:
        """Read; when the line breaks or is dropped, read on from the cursor."""
        while not self._over():
            try:
                self._read(self._random.uniform(*HOLD_SECONDS))
            except BROKEN:
                self._given_up.wait(PAUSE_SECONDS)

    def _over(self) -> bool:
        return self._given_up.is_set() or (self._goal is not None and self._last >= self._goal)

    def _read(self, seconds: float) -> None:
        opened = _sse if self._kind == "sse" else _websocket
        with closing(opened(self._gateway, self._session_id, self._cursor, seconds)) as lines:
            for item in lines:
                self._take(item)
                if self._over():
                    return
        self._resumes += 1

    def _take(self, item: Mapping[str, Any]) -> None:
        if "seq" in item:
            self._last = int(item["seq"])
            self._items.append(Item(item["type"], True, self._last, item["message"]))
        elif item["type"] == "assistant.delta":
            self._items.append(Item(item["type"], False, int(item["metadata"]["offset"]), item["message"]))
        elif item["type"] in ("assistant.reset", "stream.reset"):
            self._items.append(Item(item["type"], False, 0, ""))
        self._cursor = item.get("cursor", self._cursor)


def _sse(gateway: str, session_id: str, cursor: str, seconds: float) -> Iterator[dict[str, Any]]:
    """The items of one connection; it is left after so many seconds, in whatever place it is."""
    address = urlsplit(gateway)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=OPEN_SECONDS)) as line:
        headers = {"Last-Event-ID": cursor} if cursor else {}
        line.request("GET", f"/v1/session/{session_id}/events", headers=headers)
        link: socket.socket = line.sock
        answer = line.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(f"status {answer.status}")
        yield from _events(_lines(answer, link, seconds))


def _lines(answer: http.client.HTTPResponse, link: socket.socket, seconds: float) -> Iterator[bytes]:
    for left in _time_left(seconds):
        link.settimeout(left)
        try:
            heard = answer.readline()
        except TimeoutError:
            return
        if not heard:
            raise http.client.HTTPException("the stream ended")
        yield heard


def _events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Whole events only: what was cut off in the middle was never told."""
    data = b""
    for line in lines:
        if line.startswith(b"data: "):
            data = line[6:]
        elif line == b"\n" and data:
            yield json.loads(data)
            data = b""


def _websocket(gateway: str, session_id: str, cursor: str, seconds: float) -> Iterator[dict[str, Any]]:
    url = f"{gateway.replace('http', 'ws', 1)}/v1/session/{session_id}/stream?after={cursor}"
    with closing(websocket.create_connection(url, timeout=OPEN_SECONDS)) as line:
        for left in _time_left(seconds):
            line.settimeout(left)
            try:
                heard = line.recv()
            except websocket.WebSocketTimeoutException:
                return
            if not heard:
                raise websocket.WebSocketException("the stream ended")
            item = json.loads(heard)
            if item.get("type") != "ping":
                yield item


def _time_left(seconds: float) -> Iterator[float]:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0.01:
        yield left


class Audience:
    """All readers of one drill, each on a session of its own, the two kinds in turns."""

    def __init__(self, gateway: str, session_ids: list[str], seed: int) -> None:
        self._readers = [
            Reader(gateway, session_id, KINDS[place % len(KINDS)], seed) for place, session_id in enumerate(session_ids)
        ]

    @property
    def resumes(self) -> int:
        """How often all of them together took up their line again."""
        return sum(reader.resumes for reader in self._readers)

    def start(self) -> None:
        """Let them begin."""
        for reader in self._readers:
            reader.start()

    def finish(self, heads: Mapping[str, int], patience_seconds: float = 20.0) -> tuple[Transcript, ...]:
        """Their transcripts once each has been told all of its session, or patience has ended."""
        for reader in self._readers:
            reader.finish(heads.get(reader.session_id, 0))
        deadline = time.monotonic() + patience_seconds
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        self.give_up()
        return tuple(reader.transcript() for reader in self._readers)

    def give_up(self) -> None:
        """End, wherever they are."""
        for reader in self._readers:
            reader.give_up()

"""A client of the gateway's stream as a careful program would write it: it reconnects with its cursor and keeps score.

Nothing of the product is used here, only HTTP.
"""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

ENDINGS = frozenset({"assistant.final", "assistant.error", "assistant.cancelled", "policy.denied"})


def call(base: str, path: str, body: dict[str, Any] | None = None, seconds: float = 10) -> Any:
    """GET, or POST when there is a body; the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.load(answer)


class Follower(threading.Thread):
    """Follows one session until its turn has ended and so many memories are replicated."""

    def __init__(self, base: str, session_id: str, memories: int = 2) -> None:
        super().__init__(daemon=True)
        self._base, self._session_id, self._wanted = base, session_id, memories
        self._stop = threading.Event()
        self.cursor = ""
        self.text = ""
        self.pieces = 0
        self.reconnected = 0
        self.endings: list[dict[str, Any]] = []
        self.numbers: list[int] = []
        self.memories: dict[str, str] = {}
        self.wrong: list[str] = []

    @property
    def done(self) -> bool:
        """The turn has its end, and every memory is where it belongs."""
        replicated = [state for state in self.memories.values() if state == "replicated"]
        return bool(self.endings) and len(replicated) >= self._wanted

    def run(self) -> None:
        """Read, and when the line breaks, read on from the cursor."""
        while not self.done and not self._stop.is_set():
            try:
                self._read()
            except (OSError, urllib.error.HTTPError):
                self.reconnected += 1
                self._stop.wait(0.2)

    def stop(self) -> None:
        """Give up."""
        self._stop.set()

    def _read(self) -> None:
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        request = urllib.request.Request(f"{self._base}/v1/session/{self._session_id}/events", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as lines:
            for cursor, item in _events(lines):
                self._take(item)
                self.cursor = cursor or self.cursor
                if self.done or self._stop.is_set():
                    return
        raise OSError("the stream ended")

    def _take(self, item: dict[str, Any]) -> None:
        kind = item["type"]
        if kind == "assistant.delta":
            self._extend(item)
        elif kind == "assistant.reset":
            self.text = ""
        elif kind == "memory.status":
            self.memories |= item["metadata"]
        elif "seq" in item:
            self._number(item)

    def _extend(self, item: dict[str, Any]) -> None:
        if item["metadata"]["offset"] != len(self.text):
            self.wrong.append(f"a piece begins at {item['metadata']['offset']}, {len(self.text)} characters were known")
        self.text += item["message"]
        self.pieces += 1

    def _number(self, item: dict[str, Any]) -> None:
        if self.numbers and item["seq"] != self.numbers[-1] + 1:
            self.wrong.append(f"seq {item['seq']} follows {self.numbers[-1]}")
        self.numbers.append(item["seq"])
        if item["type"] in ENDINGS:
            self.endings.append(item)


def _events(lines: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    cursor = ""
    for raw in lines:
        line = raw.decode().rstrip("\n")
        if line.startswith("id: "):
            cursor = line[4:]
        elif line.startswith("data: "):
            yield cursor, json.loads(line[6:])
            cursor = ""

"""The live side of a stream in memory: a feed whose readers see what was published, unless Redis is "away"."""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import SlowReader
from tests.fakes_parts import FakeClock


@dataclass
class InMemoryFeed:
    """`LiveFeed` and `Broadcast` in one; while it is not `connected`, what is published is lost.

    `meanwhile` holds what happens in the world while readers wait: one thing for every wait.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    connected: bool = True
    capacity: int = 1000
    meanwhile: deque[Callable[[], object]] = field(default_factory=deque)
    lines: dict[str, list["InMemoryLine"]] = field(default_factory=lambda: defaultdict(list))

    def publish(self, session_id: str, item: Mapping[str, Any]) -> None:
        if self.connected:
            for line in self.lines[session_id]:
                line.offer(json.loads(json.dumps(item)))

    def reconnect(self) -> None:
        """Redis is back: every reader is told to look into Postgres."""
        self.connected = True
        for lines in self.lines.values():
            for line in lines:
                line.offer({"type": "stream.look"})

    @contextmanager
    def attach(self, session_id: str) -> Iterator["InMemoryLine"]:
        line = InMemoryLine(self)
        self.lines[session_id].append(line)
        try:
            yield line
        finally:
            self.lines[session_id].remove(line)


@dataclass(eq=False)
class InMemoryLine:
    """`LiveLine`; waiting for an item that does not come takes its time on the fake clock."""

    feed: InMemoryFeed
    items: deque[dict[str, Any]] = field(default_factory=deque)
    overflowed: bool = False

    @property
    def connected(self) -> bool:
        return self.feed.connected

    def offer(self, item: dict[str, Any]) -> None:
        if len(self.items) < self.feed.capacity:
            self.items.append(item)
        else:
            self.overflowed = True

    def next(self, seconds: float) -> dict[str, Any] | None:
        if self.overflowed:
            raise SlowReader("this reader is too slow; resume from your cursor")
        if not self.items and self.feed.meanwhile:
            self.feed.meanwhile.popleft()()
        if self.items:
            return self.items.popleft()
        self.feed.clock.advance(seconds)
        return None

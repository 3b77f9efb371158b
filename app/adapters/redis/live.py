"""Live items on Redis pub/sub: published by workers, read by one subscription per serving process.

Everything here may be lost at any time. A reader learns from `connected` and from gaps in what it gets that it has
to look into Postgres.
"""

import json
import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from redis.client import PubSub

from app.adapters.background import Background
from app.adapters.redis.connection import REDIS_ERRORS, connect
from app.domain.errors import SlowReader
from app.domain.events import LOOK

_PREFIX = "live:"
_READER_CAPACITY = 1000
_log = logging.getLogger(__name__)


class RedisBroadcast:
    """`Broadcast` on Redis, from a background thread, in order."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._numbers = count()
        self._background = Background("live", self._send, REDIS_ERRORS)

    def publish(self, session_id: str, item: Mapping[str, Any]) -> None:
        """Show `item` to whoever watches this session."""
        text = json.dumps(item, ensure_ascii=False)
        self._background.put(next(self._numbers), (f"{_PREFIX}{session_id}", text))

    def _send(self, items: Sequence[tuple[str, str]]) -> None:
        with self._redis.pipeline(transaction=False) as together:
            for channel, text in items:
                together.publish(channel, text)
            together.execute()


class RedisLine:
    """One reader's bounded queue; overflowing closes the reader instead of holding up the others."""

    def __init__(self, feed: "RedisFeed") -> None:
        self._feed = feed
        self._items: queue.Queue[dict[str, Any]] = queue.Queue(_READER_CAPACITY)
        self._overflowed = False

    @property
    def connected(self) -> bool:
        """Whether the subscription stands."""
        return self._feed.connected

    def offer(self, item: dict[str, Any]) -> None:
        """Called by the feed's thread; never waits."""
        try:
            self._items.put_nowait(item)
        except queue.Full:
            self._overflowed = True

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next item, or None when there was none for so long."""
        if self._overflowed:
            raise SlowReader("this reader is too slow; resume from your cursor")
        try:
            return self._items.get(timeout=seconds)
        except queue.Empty:
            return None


class RedisFeed:
    """`LiveFeed` on one pattern subscription; it reconnects by itself and says so through `connected`."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._lines: dict[str, set[RedisLine]] = defaultdict(set)
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._started = False

    @property
    def connected(self) -> bool:
        """Whether the subscription stands."""
        return self._connected.is_set()

    @contextmanager
    def attach(self, session_id: str) -> Iterator[RedisLine]:
        """A line that gets every item published for this session from now on, as far as Redis is there."""
        line = RedisLine(self)
        with self._lock:
            self._lines[session_id].add(line)
            self._start()
        self._connected.wait(timeout=0.5)
        try:
            yield line
        finally:
            with self._lock:
                self._lines[session_id].discard(line)
                if not self._lines[session_id]:
                    del self._lines[session_id]

    def _start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="live-feed", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            try:
                with self._redis.pubsub(ignore_subscribe_messages=False) as subscription:
                    subscription.psubscribe(f"{_PREFIX}*")
                    self._listen(subscription)
            except REDIS_ERRORS as error:
                if self._connected.is_set():
                    _log.warning("live feed lost (%s); streams read Postgres meanwhile", type(error).__name__)
                self._connected.clear()
                pause.wait(0.5)

    def _listen(self, subscription: PubSub) -> None:
        silent = 0
        while True:
            message = subscription.get_message(timeout=1.0)
            if message is None:
                silent += 1
                if silent % 3 == 0:
                    subscription.ping()
                if silent > 8:
                    raise ConnectionError("the subscription is silent")
                continue
            silent = 0
            self._handle(message)

    def _handle(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "psubscribe":
            self._connected.set()
            self._tell_all(dict(LOOK))
        elif message["type"] == "pmessage":
            item = _item(message["data"])
            if item is not None:
                self._deliver(message["channel"].removeprefix(_PREFIX), item)

    def _deliver(self, session_id: str, item: dict[str, Any]) -> None:
        with self._lock:
            for line in self._lines.get(session_id, ()):
                line.offer(item)

    def _tell_all(self, item: dict[str, Any]) -> None:
        with self._lock:
            for lines in self._lines.values():
                for line in lines:
                    line.offer(item)


def _item(text: str) -> dict[str, Any] | None:
    """The item in a message; None for what is not one of ours, because anybody may publish on Redis."""
    try:
        item = json.loads(text)
    except ValueError:
        return None
    return item if isinstance(item, dict) and "type" in item else None

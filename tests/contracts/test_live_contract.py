"""What a live feed promises, and what its readers may rely on when it is gone: nothing but being told."""

import time
from abc import ABC, abstractmethod
from typing import Any

import pytest

from app.adapters.redis.connection import connect, ping
from app.adapters.redis.live import RedisBroadcast, RedisFeed
from app.domain.errors import SlowReader
from app.domain.events import LOOK
from app.domain.ports import Broadcast
from app.domain.stream_ports import LiveFeed, LiveLine
from app.settings import Settings
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.fakes import InMemoryFeed


class LiveRig(ABC):
    """A broadcast, the feed that hears it, and its outage."""

    broadcast: Broadcast
    feed: LiveFeed

    @abstractmethod
    def outage(self) -> None:
        """The feed goes and comes back."""


class MemoryLiveRig(LiveRig):
    def __init__(self) -> None:
        self.fake = InMemoryFeed()
        self.broadcast = self.fake
        self.feed = self.fake

    def outage(self) -> None:
        self.fake.connected = False
        self.fake.publish("s", {"type": "lost"})
        self.fake.reconnect()


class RedisLiveRig(LiveRig):
    def __init__(self, servers: Stack) -> None:
        self._servers = servers
        url = servers.environment["REDIS_URL"]
        self.broadcast = RedisBroadcast(url)
        self.feed = RedisFeed(url)

    def outage(self) -> None:
        self._servers.kill("redis")
        with self.feed.attach("watching") as line:
            eventually(lambda: not line.connected)
            self._servers.wait_ready("redis")
            eventually(lambda: line.connected)


@pytest.fixture(params=["memory", "redis"])
def rig(request: pytest.FixtureRequest) -> LiveRig:
    return MemoryLiveRig() if request.param == "memory" else RedisLiveRig(request.getfixturevalue("servers"))


def connected(rig: LiveRig, line: LiveLine) -> None:
    """Wait for the subscription and forget what it said about itself."""
    eventually(lambda: line.connected)
    while line.next(0.05) is not None:
        pass


def items(line: LiveLine, count: int) -> list[dict[str, Any]]:
    """The next items that are not about the feed itself."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        item = line.next(0.05)
        if item is not None and item != LOOK:
            found.append(item)
        assert time.monotonic() < deadline, f"{len(found)} of {count} items came"
    return found


def test_a_reader_gets_what_is_published_in_order(rig: LiveRig) -> None:
    session_id = an_id("s-")
    with rig.feed.attach(session_id) as line:
        connected(rig, line)
        for number in range(100):
            rig.broadcast.publish(session_id, {"type": "n", "n": number, "text": "é\U0001f600"})

        assert [item["n"] for item in items(line, 100)] == list(range(100))


def test_every_reader_of_a_session_gets_it_and_nobody_elses(rig: LiveRig) -> None:
    mine, other = an_id("s-"), an_id("s-")
    with rig.feed.attach(mine) as one, rig.feed.attach(mine) as two, rig.feed.attach(other) as three:
        connected(rig, one)
        rig.broadcast.publish(mine, {"type": "mine"})
        rig.broadcast.publish(other, {"type": "other"})

        assert [items(line, 1)[0]["type"] for line in (one, two, three)] == ["mine", "mine", "other"]
        assert one.next(0.05) is None


def test_silence_is_none(rig: LiveRig) -> None:
    with rig.feed.attach(an_id("s-")) as line:
        connected(rig, line)

        assert line.next(0.01) is None


def test_a_reader_that_is_too_slow_is_told_so(rig: LiveRig) -> None:
    session_id = an_id("s-")
    with rig.feed.attach(session_id) as slow, rig.feed.attach(session_id) as quick:
        connected(rig, slow)
        for number in range(1200):
            rig.broadcast.publish(session_id, {"type": "n", "n": number})
            if number % 200 == 199:
                items(quick, 200)

        with pytest.raises(SlowReader):
            slow.next(0.05)


def test_after_an_outage_the_feed_says_so_and_goes_on(rig: LiveRig) -> None:
    session_id = an_id("s-")
    with rig.feed.attach(session_id) as line:
        connected(rig, line)

        rig.outage()

        assert eventually(lambda: line.next(0.05)) == {"type": "stream.look"}

        def heard() -> bool:
            # The publisher waits a second after a failure and drops what comes meanwhile.
            rig.broadcast.publish(session_id, {"type": "again"})
            item = line.next(0.05)
            return item is not None and item["type"] == "again"

        assert eventually(heard)


@pytest.fixture
def redis_url(servers: Stack) -> str:
    return servers.environment["REDIS_URL"]


def test_a_strangers_garbage_does_not_end_the_feed(redis_url: str) -> None:
    session_id = an_id("s-")
    feed, broadcast, stranger = RedisFeed(redis_url), RedisBroadcast(redis_url), connect(redis_url)
    with feed.attach(session_id) as line:
        eventually(lambda: line.connected)
        for garbage in (b"\xff", "{", "[]", "7", '"text"', '{"no": "type"}'):
            stranger.publish(f"live:{session_id}", garbage)
        broadcast.publish(session_id, {"type": "good"})

        assert items(line, 1) == [{"type": "good"}]


def test_redis_can_be_asked_whether_it_is_there(redis_url: str, settings: Settings) -> None:
    assert ping(redis_url)
    assert not ping("redis://127.0.0.1:1/0")

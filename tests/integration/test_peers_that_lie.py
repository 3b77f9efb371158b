"""Redis, Kafka and SomaBrain on lines that hang, drip or break: nobody waits long, and all goes on afterwards."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from celery import Celery

from app.adapters.celery_doorbell import CeleryDoorbell
from app.adapters.http.brain import HttpBrain
from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.reader import KafkaWalReader
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.redis.connection import ping
from app.adapters.redis.live import RedisBroadcast, RedisFeed
from app.domain.errors import BrainUnavailable, WalUnavailable
from app.domain.log import WalPlace
from app.domain.ports import Sent
from app.routing import TaskName
from app.settings import Settings, read
from devstack.stack import Stack
from drills.proxy import Mode, Proxy
from tests.builders import a_record, an_id
from tests.conftest import eventually
from tests.contracts.brain_rig import a_memory
from tests.contracts.scripted_brain import ScriptedBrain

Note = Callable[[str, object], None]


def seconds_of(step: Callable[[], object]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began


@pytest.fixture
def redis_link(settings: Settings) -> Iterator[tuple[Proxy, str]]:
    """A line to Redis and the address at its near end."""
    url = settings.redis_url.get_secret_value()
    far = urlsplit(url)
    with Proxy(far.hostname or "", far.port or 0) as proxy:
        yield proxy, url.replace(f":{far.port}", f":{proxy.port}")
        proxy.mode = Mode.PASS


@pytest.fixture
def doorbell(redis_link: tuple[Proxy, str]) -> CeleryDoorbell:
    app = Celery("lied to", set_as_current=False, broker=redis_link[1])
    app.conf.broker_transport_options = {"socket_timeout": 5, "socket_connect_timeout": 2, "socket_keepalive": True}
    return CeleryDoorbell(app, redis_link[1])


def test_a_doorbell_on_a_dead_line_holds_nobody_and_rings_again_when_it_lives(
    redis_link: tuple[Proxy, str], doorbell: CeleryDoorbell, record_property: Note
) -> None:
    link, _ = redis_link
    before = doorbell.waiting(TaskName.REPLICATE_WAL)
    doorbell.ring(TaskName.REPLICATE_WAL, an_id())
    eventually(lambda: doorbell.waiting(TaskName.REPLICATE_WAL) == before + 1)
    link.mode = Mode.BLACK_HOLE

    assert seconds_of(lambda: [doorbell.ring(TaskName.REPLICATE_WAL, an_id()) for _ in range(100)]) < 0.3
    waited = seconds_of(lambda: doorbell.waiting(TaskName.REPLICATE_WAL))
    record_property("asking_for_the_queue_took", round(waited, 2))
    assert waited < 3
    link.drop_connections()
    link.mode = Mode.PASS
    lately = doorbell.waiting(TaskName.REPLICATE_WAL)

    def rings() -> bool:
        doorbell.ring(TaskName.REPLICATE_WAL, an_id())
        return doorbell.waiting(TaskName.REPLICATE_WAL) > lately

    record_property("rings_again_after", round(seconds_of(lambda: eventually(rings, 20)), 2))


def test_redis_on_a_dead_line_is_told_to_be_away_within_a_second(redis_link: tuple[Proxy, str]) -> None:
    link, url = redis_link
    assert ping(url)
    link.mode = Mode.BLACK_HOLE

    assert seconds_of(lambda: ping(url)) < 2
    assert not ping(url)


def test_a_live_feed_on_a_dead_line_says_so_and_comes_back(
    redis_link: tuple[Proxy, str], record_property: Note
) -> None:
    link, url = redis_link
    broadcast, feed = RedisBroadcast(url), RedisFeed(url)
    with feed.attach("s-1") as line:
        eventually(lambda: line.connected)
        link.mode = Mode.BLACK_HOLE

        record_property("known_after", round(seconds_of(lambda: eventually(lambda: not line.connected, 15)), 2))
        assert seconds_of(lambda: broadcast.publish("s-1", {"type": "x", "n": 1})) < 0.3
        link.mode = Mode.PASS
        record_property("back_after", round(seconds_of(lambda: eventually(lambda: line.connected, 15)), 2))
        eventually(lambda: _hears(broadcast, line.next), 20)


def _hears(broadcast: RedisBroadcast, listen: Callable[[float], object]) -> bool:
    broadcast.publish("s-1", {"type": "x", "n": 2})
    return listen(0.2) == {"type": "x", "n": 2}


@pytest.fixture
def frozen_kafka(servers: Stack) -> Iterator[Callable[[], None]]:
    """Freezes the broker: its connections stay, it takes new ones, and says nothing."""
    yield lambda: servers.freeze("kafka")
    servers.thaw("kafka")
    servers.wait_ready("kafka")


@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
def test_a_writer_gives_a_silent_broker_up_and_writes_again(
    servers: Stack, settings: Settings, frozen_kafka: Callable[[], None], record_property: Note, warm: bool
) -> None:
    writer = KafkaWalWriter(connection_options(settings))
    if warm:
        assert isinstance(writer.publish([a_record()])[0], Sent)
    frozen_kafka()

    began = time.monotonic()
    (outcome,) = writer.publish([a_record()])

    record_property("given_up_after", round(time.monotonic() - began, 2))
    assert isinstance(outcome, WalUnavailable)
    assert time.monotonic() - began < 9
    servers.thaw("kafka")
    eventually(lambda: isinstance(writer.publish([a_record()])[0], Sent), 40)
    writer.close()


@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
def test_a_reader_gives_a_silent_broker_up_and_reads_again(
    servers: Stack, settings: Settings, frozen_kafka: Callable[[], None], record_property: Note, warm: bool
) -> None:
    taken = iter(range(1, 1000))
    reader = KafkaWalReader(
        connection_options(settings), "memory.wal", an_id("group-"), lambda _: WalPlace(0, next(taken))
    )
    writer = KafkaWalWriter(connection_options(settings))
    assert isinstance(writer.publish([a_record()])[0], Sent)
    if warm:
        eventually(lambda: reader.poll(0.5, 10))
    frozen_kafka()

    began = time.monotonic()
    eventually(lambda: not _can_read(reader), 30)

    record_property("given_up_after", round(time.monotonic() - began, 2))
    assert time.monotonic() - began < 15
    servers.thaw("kafka")
    eventually(lambda: _reads(reader), 60)
    reader.close()
    writer.close()


def _can_read(reader: KafkaWalReader) -> bool:
    try:
        reader.poll(0.5, 10)
    except WalUnavailable:
        return False
    return True


def _reads(reader: KafkaWalReader) -> bool:
    try:
        return bool(reader.poll(0.5, 10))
    except WalUnavailable:
        return False


def _breaks(link: Proxy) -> None:
    link.cut_at_bytes(30)


def _enters(mode: Mode) -> Callable[[Proxy], None]:
    def enter(link: Proxy) -> None:
        link.mode = mode

    return enter


@pytest.mark.parametrize(
    "break_it",
    [_enters(mode) for mode in (Mode.REFUSE, Mode.RESET, Mode.BLACK_HOLE, Mode.DRIP)] + [_breaks],
    ids=["refuse", "reset", "black hole", "drip", "cut in the answer"],
)
def test_somabrain_on_a_bad_line_is_away_within_the_deadline_and_remembers_once(
    break_it: Callable[[Proxy], None], record_property: Note
) -> None:
    brain = ScriptedBrain()
    far = urlsplit(brain.url)
    with Proxy(far.hostname or "", far.port or 0) as link:
        address = f"http://127.0.0.1:{link.port}"
        client = HttpBrain.from_settings(read({"SOMA_BASE_URL": address, "SOMA_TIMEOUT_SECONDS": "0.6"}))
        assert client.remember(a_memory("before")).kept
        break_it(link)

        began = time.monotonic()
        with pytest.raises(BrainUnavailable):
            client.remember(a_memory("m-1"))

        record_property("away_after", round(time.monotonic() - began, 2))
        assert time.monotonic() - began < 4
        link.mode = Mode.PASS
        link.cut_at_bytes(None)
        assert client.remember(a_memory("m-1")).kept
    brain.close()

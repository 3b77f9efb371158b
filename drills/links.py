"""A stack whose links can be broken: our processes on one, the servers on another, proxies between the two.

The drill itself goes to the servers directly, so what it sees is not what it has broken.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from devstack.notes import Report
from devstack.stack import PartStatus, Stack
from drills.brain_front import BrainFront
from drills.proxy import Proxy

SERVERS = ("postgres", "redis", "kafka", "migrations", "brain")


class LinkedStack:
    """What a drill may do with such a stack; parts are those of our own, addresses those of the servers."""

    def __init__(self, servers: Stack, ours: Stack, postgres: Proxy, redis: Proxy, front: BrainFront) -> None:
        self.postgres, self.redis, self.front = postgres, redis, front
        self.environment: Mapping[str, str] = servers.environment
        self.data_dir: Path = ours.data_dir
        self._servers, self._ours = servers, ours

    def url(self, name: str) -> str:
        """Where a part answers, past every proxy."""
        return (self._servers if name in SERVERS else self._ours).url(name)

    def status(self) -> dict[str, PartStatus]:
        """Our parts as they are now."""
        return self._ours.status()

    def kill(self, name: str) -> None:
        """SIGKILL the part's whole tree."""
        self._ours.kill(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP the part's whole tree."""
        self._ours.freeze(name)

    def thaw(self, name: str) -> None:
        """SIGCONT a frozen part."""
        self._ours.thaw(name)

    def down(self, name: str) -> None:
        """End the part and keep it down."""
        self._ours.down(name)

    def up(self, name: str) -> None:
        """Start a part that is down."""
        self._ours.up(name)

    def restart(self, name: str) -> None:
        """End the part and start it again."""
        self._ours.restart(name)

    def wait_ready(self, name: str) -> None:
        """Wait until the part runs."""
        self._ours.wait_ready(name)


@contextmanager
def linked(folder: Path, parts: tuple[str, ...], given: Mapping[str, str], report: Report) -> Iterator[LinkedStack]:
    """Both stacks, while the block runs."""
    with ExitStack() as life:
        servers = life.enter_context(Stack(folder / "servers", None, only=SERVERS, report=report))
        dsn, address = servers.environment["POSTGRES_DSN"], servers.environment["REDIS_URL"]
        postgres = life.enter_context(Proxy("127.0.0.1", urlsplit(dsn).port or 0))
        redis = life.enter_context(Proxy("127.0.0.1", urlsplit(address).port or 0))
        front = life.enter_context(BrainFront(servers.url("brain")))
        through = {
            **given,
            "POSTGRES_DSN": _moved(dsn, postgres.port),
            "REDIS_URL": _moved(address, redis.port),
            "SOMA_BASE_URL": front.url,
            "KAFKA_BOOTSTRAP_SERVERS": servers.environment["KAFKA_BOOTSTRAP_SERVERS"],
        }
        ours = tuple(part for part in parts if part not in SERVERS)
        stack = life.enter_context(Stack(folder / "ours", None, only=ours, overrides=through, report=report))
        yield LinkedStack(servers, stack, postgres, redis, front)


def _moved(address: str, port: int) -> str:
    """The same address behind another port of loopback."""
    before = urlsplit(address)
    return address.replace(f":{before.port}/", f":{port}/", 1)

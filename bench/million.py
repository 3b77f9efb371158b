"""`make bench-million`: a million memories through the long ways, and what their processes grow by.

A file of a million memories is imported by the command line into the real gateway. A million records of other programs
lie in the log; the replicator's worker catches up with them; the replica is then rebuilt from the log. Nothing delivers
meanwhile, so that each way has the machine for itself. `python -m bench.million 100000` takes so many of each.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
from sqlalchemy import Engine, text

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from app.settings import read
from bench.replicate import records_of
from devstack.place import ROOT
from devstack.stack import Stack

MEMORIES, AT_ONCE, GROWTH_MIB = 1_000_000, 500, 64.0
_PARTS = {"postgres", "migrations", "redis", "kafka", "topics", "gateway", "beat", "worker-replicator"}
_WARM_SECONDS = 10.0


@dataclass(slots=True)
class Size:
    """MiB resident of some processes together: when they were warm, and the most that was seen after that."""

    warm: float = 0.0
    most: float = 0.0

    def __str__(self) -> str:
        return f"{self.warm:.0f} MiB when warm, at most {self.most:.0f} MiB (+{self.most - self.warm:.0f})"

    @property
    def ok(self) -> bool:
        """Whether it stayed as it was."""
        return self.most - self.warm <= GROWTH_MIB


def main(memories: int = MEMORIES) -> int:
    """Import, catch up, rebuild; the exit status is 1 when something grew or was missing."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-million-") as folder,
        Stack(Path(folder), None, only=_PARTS) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], 2, "bench", UNHURRIED)
        fine = [_import(stack, engine, Path(folder), memories), _catch_up(stack, engine, memories)]
        fine.append(_rebuild(stack))
        engine.dispose()
    return 0 if all(fine) else 1


def _import(stack: Stack, engine: Engine, folder: Path, memories: int) -> bool:
    lines = folder / "memories.ndjson"
    with lines.open("w") as file:
        for record in records_of("imported", 0, memories):
            file.write(json.dumps(record.payload) + "\n")
    argv = [
        sys.executable,
        "-m",
        "app.cli",
        "--gateway",
        stack.url("gateway"),
        "memory",
        "import",
        str(lines),
        "--json",
    ]
    began = time.monotonic()
    with (
        subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as soma,
        _sized(lambda: psutil.Process(soma.pid).memory_info().rss) as own,
        _sized(lambda: stack.status()["gateway"].rss_bytes) as gateway,
    ):
        told, _ = soma.communicate()
    seconds = time.monotonic() - began
    kept = _count(engine, "SELECT count(*) FROM memory_ledger")
    _say(f"import of {memories:,} lines, {lines.stat().st_size / 2**20:.0f} MiB", memories, seconds)
    sys.stdout.write(f"  the command {own}\n  the gateway {gateway}\n  it said {told.strip()}\n  {kept:,} accepted\n")
    return kept == memories and own.ok and gateway.ok


def _catch_up(stack: Stack, engine: Engine, memories: int) -> bool:
    stack.down("worker-replicator")
    writer = KafkaWalWriter(connection_options(read(stack.environment)))
    began = time.monotonic()
    for start in range(0, memories, AT_ONCE):
        writer.publish(list(records_of("elsewhere", start, min(AT_ONCE, memories - start))))
    _say("published into the log", memories, time.monotonic() - began)
    stack.up("worker-replicator")
    began = time.monotonic()
    with _sized(lambda: stack.status()["worker-replicator"].rss_bytes) as worker:
        while (there := _count(engine, "SELECT count(*) FROM memory_replica")) < memories:
            time.sleep(2)
    _say("the replicator caught up", memories, time.monotonic() - began)
    sys.stdout.write(f"  the worker {worker}\n")
    return there == memories and worker.ok


def _rebuild(stack: Stack) -> bool:
    base, began = stack.url("gateway"), time.monotonic()
    job = requests.post(f"{base}/v1/admin/memory/rebuild", json={"kind": "replica"}, timeout=10).json()
    with _sized(lambda: stack.status()["worker-replicator"].rss_bytes) as worker:
        while (told := _told(f"{base}/v1/admin/memory/rebuild/{job['id']}"))["status"] not in ("completed", "failed"):
            time.sleep(2)
    _say("the replica rebuilt from the log", told["progress"]["total"], time.monotonic() - began)
    sys.stdout.write(f"  the worker {worker}\n  comparison {told['comparison']}\n")
    return bool(told["status"] == "completed" and told["comparison"]["equal"] and worker.ok)


def _told(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(url, timeout=10).json()
    return answer


def _count(engine: Engine, statement: str) -> int:
    with engine.begin() as connection:
        return int(connection.execute(text(statement)).scalar_one())


@contextmanager
def _sized(resident_bytes: Callable[[], int]) -> Iterator[Size]:
    """Looks every half second, from when the processes are warm."""
    size, ended = Size(), threading.Event()

    def look() -> None:
        pause = _WARM_SECONDS
        while not ended.wait(pause):
            with suppress(psutil.NoSuchProcess):
                size.most = max(size.most, resident_bytes() / 2**20)
                size.warm = size.warm or size.most
            pause = 0.5

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield size
    finally:
        ended.set()
        looking.join()


def _say(what: str, number: int, seconds: float) -> None:
    sys.stdout.write(f"{what}: {number:,} in {seconds:,.0f} s, {number / seconds:,.0f}/s\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))

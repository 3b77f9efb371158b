"""`make bench-million`: a million memories through the long ways, and what their processes grow by.

A file of memories is imported by the command line into the real gateway; then they are delivered to the memory service,
the log and the replica. A million records of other programs lie in the log; the replicator's worker catches up with
them; the replica is rebuilt from the log; the system proves that nothing is missing. Each way has the machine for
itself. `python -m bench.million 100000 5000` takes so many records, and imports so many memories.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
_DELIVERING = ("brain", "worker-delivery")
_PARTS = {"postgres", "migrations", "redis", "kafka", "topics", "gateway", "beat", "worker-replicator", *_DELIVERING}
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


def main(records: int = MEMORIES, imported: int = MEMORIES) -> int:
    """Import, deliver, catch up, rebuild, prove; the exit status is 1 when something grew or was missing."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-million-") as folder,
        Stack(Path(folder), None, only=_PARTS) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], 2, "bench", UNHURRIED)
        fine = [_import(stack, engine, Path(folder), imported), _deliver(stack, engine, imported)]
        fine += [_catch_up(stack, engine, records, imported), _rebuild(stack), _prove(stack, records)]
        engine.dispose()
    return 0 if all(fine) else 1


def _import(stack: Stack, engine: Engine, folder: Path, memories: int) -> bool:
    for name in _DELIVERING:
        stack.down(name)
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


def _deliver(stack: Stack, engine: Engine, memories: int) -> bool:
    began = time.monotonic()
    for name in _DELIVERING:
        stack.up(name)
    with _sized(lambda: stack.status()["worker-delivery"].rss_bytes) as worker:
        while _count(engine, "SELECT count(*) FROM memory_replica") < memories:
            time.sleep(2)
    _say("delivered to the memory service, the log and the replica", memories, time.monotonic() - began)
    sys.stdout.write(f"  the worker {worker}\n")
    return worker.ok


def _catch_up(stack: Stack, engine: Engine, records: int, imported: int) -> bool:
    stack.down("worker-replicator")
    writer = KafkaWalWriter(connection_options(read(stack.environment)))
    began = time.monotonic()
    for start in range(0, records, AT_ONCE):
        writer.publish(list(records_of("elsewhere", start, min(AT_ONCE, records - start))))
    _say("published into the log", records, time.monotonic() - began)
    stack.up("worker-replicator")
    began = time.monotonic()
    with _sized(lambda: stack.status()["worker-replicator"].rss_bytes) as worker:
        while (there := _count(engine, "SELECT count(*) FROM memory_replica")) < records + imported:
            time.sleep(2)
    _say("the replicator caught up", records, time.monotonic() - began)
    sys.stdout.write(f"  the worker {worker}\n")
    return there == records + imported and worker.ok


def _rebuild(stack: Stack) -> bool:
    began = time.monotonic()
    with _sized(lambda: stack.status()["worker-replicator"].rss_bytes) as worker:
        told = _ended(stack, "rebuild", {"kind": "replica"}, "id")
    _say("the replica rebuilt from the log", told["progress"]["total"], time.monotonic() - began)
    sys.stdout.write(f"  the worker {worker}\n  comparison {told['comparison']}\n")
    return bool(told["status"] == "completed" and told["comparison"]["equal"] and worker.ok)


def _prove(stack: Stack, records: int) -> bool:
    """Records of other programs are extra, and nobody's fault."""
    began = time.monotonic()
    with _sized(lambda: stack.status()["worker-delivery"].rss_bytes) as worker:
        told = _ended(stack, "reconcile", {}, "job_id")
    checked = sum(tenant["checked"] for tenant in told["tenants"].values())
    extra = sum(tenant["extra"]["wal"] for tenant in told["tenants"].values())
    _say("proved: memories and records of other programs", checked + extra, time.monotonic() - began)
    sys.stdout.write(f"  the worker {worker}\n  {checked:,} checked, {extra:,} extra, clean: {told['clean']}\n")
    return bool(told["clean"] and extra == records and worker.ok)


def _ended(stack: Stack, what: str, wish: Mapping[str, str], key: str) -> dict[str, Any]:
    """Ask for a job, and what is told of it when it has ended."""
    url = f"{stack.url('gateway')}/v1/admin/memory/{what}"
    job = requests.post(url, json=wish, timeout=10).json()[key]
    while (told := _told(f"{url}/{job}"))["status"] not in ("completed", "failed"):
        time.sleep(2)
    return told


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

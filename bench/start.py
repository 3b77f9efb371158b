"""`make bench-start`: seconds to the first and to a later start, and what the idle stack costs.

The first start is that of a fresh clone with empty caches: it makes the virtual environment and downloads everything.
Both run on free ports in a temporary folder, beside whatever runs already.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from devstack import place, tree

FIRST_SECONDS, LATER_SECONDS = 120, 20
RESIDENT_MIB, CPU_PERCENT = 1638, 20
_SETTLE_SECONDS, _IDLE_SECONDS, _PATIENCE_SECONDS = 20, 20, 600
_CACHES = {"XDG_CACHE_HOME": "", "PIP_CACHE_DIR": "pip", "UV_CACHE_DIR": "uv"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What an idle stack takes: MiB resident, counted per process and counted once per page; percent of one core."""

    resident_mib: float
    proportional_mib: float
    cpu_percent: float
    processes: int


def main() -> int:
    """Measure and print; the exit status is 0 when the figures could be taken."""
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        clone, cache = Path(folder) / "clone", Path(folder) / "cache"
        copy_checkout(clone)
        with running(clone, cache) as seconds:
            show("first start, with all downloads", seconds, FIRST_SECONDS, "s")
        with running(clone, cache) as seconds:
            show("later start", seconds, LATER_SECONDS, "s")
            time.sleep(_SETTLE_SECONDS)
            cost = measure(clone / "var" / "stack-free")
            show(f"resident, sum over {cost.processes} processes", cost.resident_mib, RESIDENT_MIB, "MiB")
            show("the same, shared pages counted once", cost.proportional_mib, RESIDENT_MIB, "MiB")
            show(f"processor over {_IDLE_SECONDS} idle seconds, of one core", cost.cpu_percent, CPU_PERCENT, "%")
    return 0


def show(what: str, figure: float, goal: float, unit: str) -> None:
    """One line of the table."""
    verdict = "ok" if figure <= goal else "OVER"
    sys.stdout.write(f"{what:<46} {figure:8.1f} {unit:<4} goal {goal} {unit:<4} {verdict}\n")
    sys.stdout.flush()


def copy_checkout(target: Path) -> None:
    """What a clone of this checkout would hold, changes that are not committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=place.ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, os.fsdecode(listed).split("\0")):
        source, copy = place.ROOT / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)


@contextmanager
def running(clone: Path, cache: Path) -> Iterator[float]:
    """`make run` in the clone; gives the seconds until it was ready, and ends it."""
    said = clone.parent / "said"
    environment = {**os.environ, **{name: str(cache / below) for name, below in _CACHES.items()}}
    with said.open("w") as output:
        started = time.monotonic()
        make = subprocess.Popen(
            ["make", "run", "PORT_OFFSET=free"],
            cwd=clone, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_ready(make, said)
        seconds = time.monotonic() - started
        sys.stdout.write(_steps(said.read_text()))
        yield seconds
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGINT)
            make.wait(30)


def wait_until_ready(make: "subprocess.Popen[bytes]", said: Path) -> None:
    """Poll what it says; a start that fails ends the benchmark with its words."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while "ready after" not in said.read_text():
        if make.poll() is not None or time.monotonic() > until:
            sys.exit(f"the stack did not start:\n{said.read_text()}")
        time.sleep(0.05)


def _steps(text: str) -> str:
    lines = re.findall(r"^ *[\d.]+ s  .*$", text, re.MULTILINE)
    return "".join(f"    {line}\n" for line in lines)


def measure(data_dir: Path) -> Cost:
    """Every process of the stack, its launcher and its guard."""
    launcher = psutil.Process(place.holder_of(data_dir))
    processes = [*tree.members(data_dir), launcher]
    processes += [child for child in launcher.children() if child not in processes]
    before = processor_seconds(processes)
    time.sleep(_IDLE_SECONDS)
    spent = processor_seconds(processes) - before
    memory = [process.memory_full_info() for process in processes if process.is_running()]
    return Cost(
        resident_mib=sum(one.rss for one in memory) / 1024**2,
        proportional_mib=sum(one.pss for one in memory) / 1024**2,
        cpu_percent=100 * spent / _IDLE_SECONDS,
        processes=len(memory),
    )


def processor_seconds(processes: list[psutil.Process]) -> float:
    """What these processes have used so far."""
    return sum(times.user + times.system for times in (p.cpu_times() for p in processes if p.is_running()))


if __name__ == "__main__":
    sys.exit(main())

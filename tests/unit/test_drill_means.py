"""How the drills break a disk, a clock and a process: each means does what it says and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.crash_points import CrashStep
from drills import clock_faults, crash_faults, disk, tour
from drills.trouble import Stage, Trouble
from drills.wishes import lay
from tests.conftest import eventually

MOUNT_IS_MISSING = disk.missing()
needs_mount = pytest.mark.skipif(bool(MOUNT_IS_MISSING), reason=MOUNT_IS_MISSING)


def never(_stage: Stage) -> None:
    raise AssertionError("this fault must not be tried")


def test_a_fault_whose_means_are_missing_is_not_tried_and_not_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble("F17", "disk full", never, missing=lambda: "no disk to fill")
    monkeypatch.setattr("drills.catalogue.CATALOGUE", (trouble,))

    assert tour.main(["--data", str(tmp_path), "--json", str(tmp_path / "drill.json")]) == 0

    assert '"result": "not run here: no disk to fill"' in (tmp_path / "drill.json").read_text()


def test_the_drill_knows_every_step_of_the_product() -> None:
    assert set(crash_faults.STEPS) == set(CrashStep)


@pytest.fixture
def gone() -> int:
    """The pid of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_crash_is_felt_only_when_the_process_that_said_so_is_gone(tmp_path: Path, gone: int) -> None:
    log = tmp_path / "gateway.log"
    old = f"crash point after_remember: process {gone} ends here\n"
    log.write_text(f"{old}crash point after_publish: process {os.getpid()} ends here\n")

    assert crash_faults.has_ended(log, 0, "after_remember")
    assert not crash_faults.has_ended(log, len(old), "after_remember")
    assert not crash_faults.has_ended(log, 0, "after_publish")


LIVES = """
import time
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Path]:
    """The file that sets the clock of a process called `worker-delivery`, which does nothing else."""
    environment = {**os.environ, **clock_faults.OVERRIDES, "PROCESS_NAME": "worker-delivery"}
    process = subprocess.Popen([sys.executable, "-c", LIVES], cwd=tmp_path, env=environment)
    yield tmp_path / clock_faults.OVERRIDES["DRILL_CLOCK"]
    process.kill()
    process.wait()


@pytest.mark.skipif(bool(clock_faults.missing()), reason=clock_faults.missing())
def test_a_clock_jumps_and_returns_and_monotonic_time_does_not(worker: Path) -> None:
    for seconds in (3600.0, -3600.0, 0.0):
        lay(worker, f"worker-delivery {seconds:g}")
        eventually(lambda seconds=seconds: clock_faults.is_off(worker, "worker-delivery", seconds), 10)
        assert not clock_faults.is_off(worker, "worker-delivery", seconds + 3600)


@pytest.mark.skipif(bool(clock_faults.missing()), reason=clock_faults.missing())
def test_only_the_clock_of_the_named_process_jumps(worker: Path) -> None:
    lay(worker, "worker-delivery 3600")
    eventually(lambda: clock_faults.is_off(worker, "worker-delivery", 3600), 10)

    lay(worker, "worker-replicator 3600")

    eventually(lambda: clock_faults.is_off(worker, "worker-delivery", 0), 10)


@needs_mount
def test_a_small_disk_is_filled_to_the_last_page_and_freed(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with disk.small_disk(place, 2):
        ballast = disk.Ballast(place / "ballast")
        ballast.fill()
        with pytest.raises(OSError, match="No space left"):
            (place / "more").write_bytes(bytes(4096))

        ballast.drop()
        (place / "more").write_bytes(bytes(4096))
    assert not place.exists()


HOLDS_A_DISK = """
import sys, time
from pathlib import Path
from drills.disk import small_disk
with small_disk(Path(sys.argv[1]), 1):
    print("here", flush=True)
    time.sleep(60)
"""


@needs_mount
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_small_disk_goes_with_the_drill_however_that_ends(tmp_path: Path, end: signal.Signals) -> None:
    place = tmp_path / "disk"
    drill = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_DISK, str(place)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert drill.stdout is not None
    assert drill.stdout.readline() == b"here\n"
    assert os.path.ismount(place)

    drill.send_signal(end)
    drill.communicate()

    eventually(lambda: not os.path.ismount(place), 5)

"""What can happen to Postgres's disk: full to the last page, so that it first refuses to grow and then stops."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import requests

from devstack.stack import Stack
from drills.disk import Ballast, small_disk
from drills.gates import said_since
from drills.postgres_faults import NAME, refuses
from drills.trouble import Stage

MEGABYTES = 400
FULL_SECONDS = 15
BACK_SECONDS = 60.0
NO_ROOM = "No space left on device"
_LOOK_SECONDS = 0.5
_WAL_PIECES = 400
# A megabyte of log at a time, which belongs to no table.
_USE_LOG = "SELECT 1 FROM pg_logical_emit_message(false, 'drill', repeat('x', 1000000))"
_BACK = "Postgres was back after the room was, s"
_REFUSED = "POSTs of the drill's own that were answered 503 with Retry-After while the disk was full"
_TAKEN = "POSTs of the drill's own that were accepted while the disk was full"


@contextmanager
def on_a_small_disk(folder: Path) -> Iterator[None]:
    """Postgres's data of the stack in this folder lies on a disk of its own, while the block runs."""
    place = disk_of(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    with small_disk(place, MEGABYTES):
        with Stack(folder, None, only=(NAME,)):
            pass  # it makes its data folder
        data = folder / NAME
        subprocess.run(["cp", "-a", str(data), str(place)], check=True)
        shutil.rmtree(data)
        data.symlink_to((place / NAME).resolve())
        yield


def disk_of(folder: Path) -> Path:
    """Where that disk is, beside the stack's folder."""
    return folder.with_name(f"{folder.name}-disk")


def fill_up(stage: Stage) -> None:
    """The rest of the disk is taken and the log used up; Postgres comes back by itself once there is room."""
    ballast = Ballast(disk_of(stage.stack.data_dir) / "ballast")
    log = stage.stack.data_dir / "logs" / f"{NAME}.log"
    before = log.stat().st_size
    try:
        ballast.fill()
        _use_up_log(stage)
        stage.feel(lambda: NO_ROOM in said_since(log, before))
        _stay_full(stage, ballast)
    finally:
        ballast.drop()
    _await_return(stage)


def _use_up_log(stage: Stage) -> None:
    """Write ahead until there is no room for the log either: Postgres cannot go on and stops."""
    for _ in range(_WAL_PIECES):
        try:
            stage.sql(_USE_LOG)
        except psycopg2.Error:
            return


def _stay_full(stage: Stage, ballast: Ballast) -> None:
    answers: list[tuple[int, bool]] = []
    until = time.monotonic() + FULL_SECONDS * stage.scale
    while time.monotonic() < until:
        ballast.fill()
        answers.append(_attempt(stage))
        time.sleep(_LOOK_SECONDS)
    stage.figures[_REFUSED] = refused = answers.count((503, True))
    stage.figures[_TAKEN] = sum(status == 200 for status, _ in answers)
    stage.felt += refused > 0
    odd = sorted({answer for answer in answers if answer[0] != 200} - {(503, True)})
    stage.later.append(lambda: [f"a POST was answered {status} while the disk was full" for status, _ in odd])


def _attempt(stage: Stage) -> tuple[int, bool]:
    """The status of a message beside the load, and whether it says when to come back."""
    body = {"session_id": "drill-disk", "message": "hello", "metadata": {"tenant": f"{stage.target.tenant}-disk"}}
    answer = requests.post(f"{stage.target.gateway}/v1/session/message", json=body, timeout=10)
    return answer.status_code, "Retry-After" in answer.headers


def _await_return(stage: Stage) -> None:
    began = time.monotonic()
    while refuses(stage) and time.monotonic() - began < BACK_SECONDS:
        time.sleep(0.1)
    stage.figures[_BACK] = round(time.monotonic() - began, 1)
    stage.stack.wait_ready(NAME)
    stage.encourage(NAME)

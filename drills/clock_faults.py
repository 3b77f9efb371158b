"""What can happen to the wall clock of a worker or of beat: an hour ahead, an hour behind, then right again."""

import os
import time
from importlib.util import find_spec
from pathlib import Path

from drills.trouble import Stage
from drills.wishes import lay

PROCESSES = ("worker-conversation", "worker-delivery", "worker-replicator", "beat")
JUMPS = (3600.0, -3600.0)
_FILE = "drill-clock"
_FOLDER = Path(__file__).parent / "clock"
_CLOSE_SECONDS = 5.0

OVERRIDES = {
    # A path of processes that work in `run` of the stack's folder.
    "DRILL_CLOCK": _FILE,
    "PYTHONPATH": os.pathsep.join((str(_FOLDER), str(_FOLDER.parent.parent))),
}
"""What makes the clocks of a stack's processes ones that can be set."""


def missing() -> str:
    """Why no clock can be set here; empty where it can."""
    return "" if find_spec("time_machine") else "the package time-machine is not installed"


def jump(stage: Stage) -> None:
    """Each process in turn; felt when the process itself takes it for an hour later or earlier, and time runs on."""
    path = stage.stack.data_dir / "run" / _FILE
    try:
        for process in PROCESSES:
            for seconds in JUMPS:
                _set_and_feel(stage, path, process, seconds)
                stage.rest(8)
            _set_and_feel(stage, path, process, 0)
            stage.rest(3)
    finally:
        lay(path, "")


def _set_and_feel(stage: Stage, path: Path, process: str, seconds: float) -> None:
    lay(path, f"{process} {seconds:g}")
    stage.feel(lambda: is_off(path, process, seconds))


def is_off(path: Path, process: str, seconds: float) -> bool:
    """Whether the process says that its wall clock is so far from the file system's and its monotonic one is right."""
    told = path.with_name(f"{path.name}-of-{process}")
    if not told.exists():
        return False
    wall, monotonic = map(float, told.read_text(encoding="utf-8").split())
    written_at = told.stat().st_mtime
    errors = wall - written_at - seconds, monotonic - written_at + time.time() - time.monotonic()
    return all(abs(error) < _CLOSE_SECONDS for error in errors)

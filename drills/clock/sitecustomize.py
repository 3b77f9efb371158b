"""A clock that a drill can set: Python imports this at the start of every process that finds its folder on the path.

The file that `DRILL_CLOCK` names says `PROCESS SECONDS`: so far from the truth is the wall clock of that process, from
now on. Everybody else's is right. Monotonic time goes on as ever, as it does when a real clock is set. What the process
itself then takes for the time it writes beside that file, so that a drill can feel it.
"""

import os
import threading
import time
from pathlib import Path

import time_machine

LOOK_SECONDS = 0.2
_NAME = os.environ.get("PROCESS_NAME", "")
_FILE = os.environ.get("DRILL_CLOCK", "")


def wished(text: str, name: str) -> float:
    """How far this process's clock should be off, after what the file says."""
    process, _, seconds = text.strip().partition(" ")
    return float(seconds) if process == name and seconds else 0.0


def tell(path: Path, name: str) -> None:
    """Write down the time as this process sees it, wall clock and monotonic; never seen half-written."""
    told = path.with_name(f"{path.name}-of-{name}")
    fresh = told.with_suffix(".part")
    fresh.write_text(f"{time.time()} {time.monotonic()}", encoding="utf-8")
    fresh.replace(told)


def follow(path: Path, name: str) -> None:
    """Keep this process's clock as the file wants it, for ever."""
    travel: time_machine.travel | None = None
    now = 0.0
    while True:
        offset = wished(path.read_text(encoding="utf-8"), name) if path.exists() else 0.0
        if offset != now:
            if travel is not None:
                travel.stop()
            travel = _begin(offset)
            now = offset
            tell(path, name)
        time.sleep(LOOK_SECONDS)


def _begin(offset: float) -> time_machine.travel | None:
    if not offset:
        return None
    travel = time_machine.travel(time.time() + offset, tick=True)
    travel.start()
    return travel


if _FILE and (_NAME == "beat" or _NAME.startswith("worker-")):
    threading.Thread(target=follow, args=(Path(_FILE), _NAME), name="drill-clock", daemon=True).start()

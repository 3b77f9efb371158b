"""What can happen between two steps of the line: the process ends right there (`os._exit`), as if the power had gone.

The product's own crash points do it; the drill writes the step into the file that the setting names, and looks whether
the process is really gone.
"""

import re
import time
from pathlib import Path

import psutil

from drills.gates import said_since
from drills.trouble import Stage
from drills.wishes import lay

# The product's names; the drill knows them from outside, like any operator.
STEPS = {
    "after_accept_commit": "gateway",
    "after_remember": "worker-delivery",
    "after_mark_synced": "worker-delivery",
    "after_publish": "worker-delivery",
    "after_mark_sent": "worker-delivery",
    "after_replica_commit": "worker-replicator",
    "after_kafka_commit": "worker-replicator",
}
"""Each step with the part whose process passes it."""
PATIENCE_SECONDS = 60.0
_FILE = "drill-crash-point"
# A path of processes that work in `run` of the stack's folder.
OVERRIDES = {"CRASH_POINT": f"@{_FILE}"}
_ENDED = re.compile(r"crash point (\w+): process (\d+) ends here")


def end_after_each_step(stage: Stage) -> None:
    """One step after the other, under load; felt when the process that said so is gone and the part is back."""
    wish = stage.stack.data_dir / "run" / _FILE
    try:
        for step, part in STEPS.items():
            _end_after(stage, wish, step, part)
            stage.rest(3)
    finally:
        lay(wish, "")


def _end_after(stage: Stage, wish: Path, step: str, part: str) -> None:
    log = stage.stack.data_dir / "logs" / f"{part}.log"
    before, root = log.stat().st_size, stage.stack.status()[part].pid
    lay(wish, step)
    stage.feel(lambda: has_ended(log, before, step), PATIENCE_SECONDS)
    lay(wish, "")
    _await_next_life(stage, part, root)
    stage.encourage(part)


def _await_next_life(stage: Stage, part: str, root: int) -> None:
    """Wait until the part is ready again; where its root ended, until there is another one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not psutil.pid_exists(root) and time.monotonic() < deadline:
        root = stage.stack.status()[part].pid or root
        time.sleep(0.1)
    stage.stack.wait_ready(part)


def has_ended(log: Path, before: int, step: str) -> bool:
    """Whether, in what was said since, a process announced its end at this step and is gone."""
    ends = _ENDED.findall(said_since(log, before))
    return any(named == step and not psutil.pid_exists(int(pid)) for named, pid in ends)

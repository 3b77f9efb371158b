"""A turn in a process of its own: what kills its worker kills nothing else.

The parent keeps the lease and renews it; the child only answers. It gets the turn as one line of JSON, says in one
line what became of it, and ends with its parent: the pipe that it was given closes.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, ProcessDied, StoreUnavailable

LOST, AWAY = "lease lost", "store away"
"""What a child says instead of an outcome; the parent raises it again."""
_END_SECONDS = 5.0


class OwnProcess:
    """Runs one module for one turn. `command` starts Python with that module."""

    def __init__(self, module: str) -> None:
        self._command: Sequence[str] = (sys.executable, "-m", module)

    def __call__(self, turn: Turn) -> Mapping[str, Any]:
        """What the child said, with `outcome` in a word; `ProcessDied` when it ended without saying anything."""
        with subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            said = _ask(child, turn)
            status = _status(child)
        if not said:
            raise ProcessDied(f"the process that this message had for itself ended {_in_words(status)}")
        return _understood(said)


def _ask(child: "subprocess.Popen[str]", turn: Turn) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(asdict(turn)) + "\n")
        child.stdin.flush()
        return child.stdout.readline()
    except BrokenPipeError:
        return ""


def _status(child: "subprocess.Popen[str]") -> int:
    try:
        return child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _in_words(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"


def _understood(line: str) -> Mapping[str, Any]:
    said: dict[str, Any] = json.loads(line)
    if said["outcome"] == LOST:
        raise LeaseLost("the turn belongs to another attempt")
    if said["outcome"] == AWAY:
        raise StoreUnavailable(str(said["reason"]))
    return said

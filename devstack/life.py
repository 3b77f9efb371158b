"""The words for a part's life: its states, what is wished of it, how it died, how long to wait before the next try."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from devstack import tree
from devstack.journal import Journal
from devstack.part import Part

CALM_SECONDS = 60.0
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class State(StrEnum):
    """What a part is doing."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    PAUSING = "restarting"
    DOWN = "down"
    FAILED = "failed"
    ENDED = "ended"


class Wish(StrEnum):
    """What a part should do."""

    UP = "up"
    DOWN = "down"
    END = "end"


@dataclass(frozen=True, slots=True)
class Yard:
    """What all keepers share. `say(name, text)` tells a person what happened to a part."""

    data_dir: Path
    environment: Mapping[str, str]
    journal: Journal
    say: Callable[[str, str], None]

    def spawn(self, part: Part) -> "subprocess.Popen[bytes]":
        """Start this part's process: a group of its own, marked as the stack's, what it says in the journal."""
        output = self.journal.pipe(part.name)
        try:
            return subprocess.Popen(
                part.argv,
                cwd=part.cwd,
                env={**self.environment, **part.environment, **tree.mark(self.data_dir, part.name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)


def pause_after(deaths: int) -> float:
    """Seconds to wait before the next start, growing with the deaths in a row."""
    return _PAUSES[min(deaths, len(_PAUSES)) - 1] if deaths > 0 else 0.0


def cause_of(returncode: int) -> str:
    """An exit status in words."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"was ended by signal {-returncode}"

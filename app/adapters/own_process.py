"""A turn in a process of its own: what kills its worker kills nothing else.

The parent keeps the lease and renews it; the child only answers. It is forked from a server of the standard library
(`multiprocessing`, start method forkserver) that has imported everything and never answers a turn itself, so that a
child costs milliseconds. It ends with its parent: the pipe between them breaks.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, ProcessDied, StoreUnavailable

LOST, AWAY = "lease lost", "store away"
"""What a child says instead of an outcome; the parent raises it again."""
_END_SECONDS = 5.0
Said = Mapping[str, Any]


class OwnProcess:
    """Runs a function of a module, which is imported once, for one turn in a process of its own."""

    def __init__(self, answer: Callable[[Turn], Said]) -> None:
        self._answer = answer
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([answer.__module__])

    def __call__(self, turn: Turn) -> Said:
        """What the child said, with `outcome` in a word; `ProcessDied` when it ended without saying anything."""
        ours, theirs = self._context.Pipe()
        child = self._context.Process(target=_run, args=(self._answer, turn, theirs), daemon=True)
        child.start()
        theirs.close()
        with ours:
            said = _hear(ours)
        child.join(_END_SECONDS)
        if said is None:
            raise ProcessDied(f"the process that this message had for itself ended {_in_words(child.exitcode)}")
        return _understood(said)


def _run(answer: Callable[[Turn], Said], turn: Turn, parent: Connection) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    parent.send(answer(turn))


def _end_with(parent: Connection) -> None:
    """The parent never says anything: what is heard is its end, or that it has heard enough."""
    try:
        parent.recv()
    except (EOFError, OSError):
        os._exit(1)


def _hear(child: Connection) -> Said | None:
    try:
        said: Said = child.recv()
    except (EOFError, OSError):
        return None
    return said


def _in_words(status: int | None) -> str:
    if status is None:
        return "but not in time"
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"


def _understood(said: Said) -> Said:
    if said["outcome"] == LOST:
        raise LeaseLost("the turn belongs to another attempt")
    if said["outcome"] == AWAY:
        raise StoreUnavailable(str(said["reason"]))
    return said

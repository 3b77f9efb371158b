"""What a child may do with the turn that it was given, each ending in its own way."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.adapters.own_process import AWAY, LOST, OwnProcess
from app.domain.conversation import Turn

TURN = Turn("e-1", "s-1", 1, "t-1", None, {"a": "é"}, 3, "worker@host:1:x", deaths=2)


def says_done(turn: Turn) -> Mapping[str, Any]:
    """Answers, and says where."""
    return {"outcome": "done", "saw": turn, "pid": os.getpid(), "threads": threading.active_count()}


def is_killed(_turn: Turn) -> Mapping[str, Any]:
    """Dies of the turn without a word."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def gives_up(_turn: Turn) -> Mapping[str, Any]:
    """Ends with a status."""
    os._exit(3)


def raises(_turn: Turn) -> Mapping[str, Any]:
    """A defect."""
    raise ValueError("a defect")


def lost_it(_turn: Turn) -> Mapping[str, Any]:
    """Finds that the turn belongs to somebody else."""
    return {"outcome": LOST}


def store_is_away(_turn: Turn) -> Mapping[str, Any]:
    """Finds Postgres away."""
    return {"outcome": AWAY, "reason": "Postgres is not answering"}


def never_ends(_turn: Turn) -> Mapping[str, Any]:
    """Says where it is, and waits for ever."""
    Path(os.environ["CHILD_SAYS"]).write_text(str(os.getpid()))
    threading.Event().wait()
    return {}


if __name__ == "__main__":
    sys.exit(bool(OwnProcess(never_ends)(TURN)))

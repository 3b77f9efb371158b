"""Tools as nobody should write them, for the tests of what holds them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from app.domain.tools import Effect
from app.tools.built_in import Arguments, BuiltInTool


class OddArguments(Arguments):
    """Which oddity."""

    how: Annotated[str, Field(max_length=100)]


def _fail() -> Any:
    raise ValueError("there is no such city")


_WAYS: dict[str, Callable[[], Any]] = {
    "fails": _fail,
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "prints": lambda: print("this is no answer", flush=True),
    "answers no JSON": object,
    "answers without end": lambda: "x" * 2_000_000,
    "leaves a child": lambda: (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "left-behind"]).pid
    ),
    "tells its environment": lambda: sorted(os.environ),
    "hangs": lambda: time.sleep(600),
}


def odd(arguments: OddArguments) -> Any:
    """One way of not answering as a tool should."""
    return _WAYS[arguments.how]()


TOOLS = (BuiltInTool("odd", "Does what it should not.", Effect.READ, OddArguments, odd),)

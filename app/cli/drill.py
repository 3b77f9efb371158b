"""`soma drill`: the fault drills of a source tree, which is the only place that has them."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.client import Refused

TREE = Path(__file__).resolve().parents[2]


def drill(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="NAME [OPTIONS]", help="for the drills")] = None,
) -> None:
    """Break a stack of its own on purpose, and prove that nothing is lost. `soma drill campaign --help` says more."""
    if not (TREE / "drills" / "__main__.py").exists():
        raise Refused("there are no drills here: they come with the source tree, not with the installed package")
    command = [sys.executable, "-m", "drills", *(arguments or ["--help"])]
    raise typer.Exit(_status(command))


def _status(command: list[str]) -> int:
    """The drills get the Ctrl-C of this terminal themselves, and end what they started."""
    with subprocess.Popen(command, cwd=TREE) as running:
        while True:
            try:
                return running.wait()
            except KeyboardInterrupt:
                continue

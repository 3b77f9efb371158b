"""Running a server's own tools (initdb, a storage formatter) to their end."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.faults import CannotStart


def run(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: float = 60.0, purpose: str = ""
) -> str:
    """What the tool printed; a failure is one line with the tool's last words."""
    what = purpose or Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=seconds,
            check=False,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise CannotStart(f"{what} failed: {error}") from None
    except subprocess.TimeoutExpired:
        raise CannotStart(f"{what} was not done after {seconds:.0f} s") from None
    if done.returncode:
        raise CannotStart(f"{what} failed: {last_words(done.stdout)}")
    return done.stdout


def last_words(output: str) -> str:
    """The last line that says anything."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"

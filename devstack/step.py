"""Running a part that is a step: once, to its end."""

import subprocess
import time

from devstack import tree
from devstack.faults import CannotStart
from devstack.life import Yard, cause_of
from devstack.part import Part


def run(part: Part, yard: Yard) -> None:
    """Return when it ended with status 0; `CannotStart` carries its last words otherwise."""
    process = yard.spawn(part)
    try:
        returncode = process.wait(part.start_seconds)
    except subprocess.TimeoutExpired:
        tree.kill(yard.data_dir, part.name)
        process.wait()
        raise CannotStart(f"{part.name} was not done after {part.start_seconds:.0f} s") from None
    if returncode:
        time.sleep(0.1)  # the journal may still be reading the last line
        words = yard.journal.last_words(part.name)
        raise CannotStart(f"{part.name} {cause_of(returncode)}: {words}; see {yard.journal.path(part.name)}")

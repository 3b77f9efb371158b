"""Showing what a part printed: the end of its file, and on request whatever comes after."""

import sys
import time
from collections import deque
from pathlib import Path

from devstack.faults import CannotStart


def show(data_dir: Path, name: str, lines: int, follow: bool) -> int:
    """Print the last lines; with `follow` go on until Ctrl-C, over rotations of the file."""
    path = data_dir / "logs" / f"{name}.log"
    if "/" in name or not path.exists():
        known = sorted(found.stem for found in (data_dir / "logs").glob("*.log"))
        raise CannotStart(f"there is no log of {name} in {data_dir}; there are: {', '.join(known) or 'none'}")
    with path.open(errors="replace") as file:
        sys.stdout.writelines(deque(file, maxlen=max(0, lines)))
        position = file.tell()
    try:
        while follow:
            position = _print_from(path, position)
            time.sleep(0.3)
    except KeyboardInterrupt:
        pass
    return 0


def _print_from(path: Path, position: int) -> int:
    """Print what is new; a file that is shorter than before is a new one."""
    start = position if path.stat().st_size >= position else 0
    with path.open(errors="replace") as file:
        file.seek(start)
        sys.stdout.write(file.read())
        sys.stdout.flush()
        return file.tell()

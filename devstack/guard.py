"""The guard: a process that outlives its launcher by seconds, to end whatever the launcher can no longer end.

It holds one end of a pipe and the lock of the data folder. A clean launcher says goodbye; a killed one does not, and
then the guard becomes `python -m devstack.guard`, which ends the stack.
"""

import os
import subprocess
import sys
from pathlib import Path

from devstack import tree
from devstack.watch import GOODBYE

GRACE_SECONDS = 4.0


class Guard:
    """The launcher's handle on its guard; a guard that was killed is replaced by `ensure`."""

    def __init__(self, data_dir: Path, lock: int) -> None:
        self._data_dir = data_dir
        self._lock = lock
        self._process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        root = Path(__file__).parent.parent
        return subprocess.Popen(
            [sys.executable, "-S", str(root / "devstack" / "watch.py"), str(self._data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            pass_fds=[self._lock],
        )

    @property
    def pid(self) -> int:
        """The process id of the guard now on duty."""
        return self._process.pid

    def ensure(self) -> bool:
        """Replace a guard that is gone; true when that was necessary."""
        if self._process.poll() is None:
            return False
        self._process.communicate()
        self._process = self._spawn()
        return True

    def dismiss(self) -> None:
        """Send the guard home: nothing of the stack is left to end."""
        self._process.communicate(GOODBYE, timeout=5)


if __name__ == "__main__":
    tree.end_gently(Path(sys.argv[1]), GRACE_SECONDS)

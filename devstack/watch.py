"""The guard's program: wait for the launcher with as little memory as possible, then become the one who ends its stack.

`python -S watch.py DATA_DIR`, with the launcher at the other end of its standard input. It imports next to nothing.
"""

import os
import select
import sys

GOODBYE = b"goodbye\n"
_GLANCE_SECONDS = 1.0


def watch(launcher: int) -> bool:
    """Wait for the launcher; true when it died without a goodbye."""
    while True:
        readable, _, _ = select.select([0], [], [], _GLANCE_SECONDS)
        if readable:
            return os.read(0, len(GOODBYE)) != GOODBYE
        if os.getppid() != launcher:
            return True


if __name__ == "__main__" and watch(os.getppid()):
    os.execv(sys.executable, [sys.executable, "-m", "devstack.guard", sys.argv[1]])  # noqa: S606

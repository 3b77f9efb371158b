"""A small disk of the drill's own, which can be filled to the last byte: a tmpfs that goes away with the drill."""

import errno
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECES = (1_048_576, 4096)
# Runs until the drill ends, in whatever way: its standard input is then at an end. `-l` where somebody still holds it.
_UNMOUNT = 'cat >/dev/null; umount "$0" 2>/dev/null || umount -l "$0"'


class CannotMount(OSError):
    """This machine does not let the drill mount a file system."""


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """A disk of so many megabytes at this new folder, while the block runs; it goes even when the drill is killed."""
    place.mkdir()
    guard = subprocess.Popen(
        ["sh", "-c", _UNMOUNT, str(place)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _mount(place, megabytes)
        yield
    finally:
        if guard.stdin is not None:
            guard.stdin.close()
        guard.wait()
        place.rmdir()


def _mount(place: Path, megabytes: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "drill", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMount(" ".join(done.stderr.split()) or f"mount ended with {done.returncode}")


def missing() -> str:
    """Why there cannot be such a disk here; empty where there can, as was just tried."""
    if shutil.which("mount") is None:
        return "a small file system has to be mounted, and there is no `mount`"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk", 1):
                return ""
        except CannotMount as error:
            return f"a small file system has to be mounted, and that is refused: {error}"


class Ballast:
    """A file that takes all the room that is left on its disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> None:
        """Grow until nothing fits any more, not even a page; again and again, as others give room back."""
        with self._path.open("ab", buffering=0) as file:
            for size in _PIECES:
                _grow(file.write, bytes(size))

    def drop(self) -> None:
        """Give all the room back."""
        self._path.unlink(missing_ok=True)


def _grow(write: Callable[[bytes], int | None], piece: bytes) -> None:
    try:
        while write(piece) == len(piece):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise

"""What the parts print: every line into a file per part that never grows without bound, warnings to the person.

One thread reads all pipes; an idle stack costs it nothing.
"""

import contextlib
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from devstack.trouble import trouble_in

ROTATE_BYTES = 5 * 1024 * 1024
KEPT = 2
_LONGEST_LINE = 64 * 1024


class RotatingFile:
    """An append-only log that keeps `KEPT` older files beside itself: NAME.log, NAME.log.1, NAME.log.2."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._size = path.stat().st_size

    def write(self, data: bytes) -> None:
        """Append; a full disk loses lines of the log and nothing else."""
        with contextlib.suppress(OSError):
            if self._size > ROTATE_BYTES:
                self._rotate()
            self._file.write(data)
            self._size += len(data)

    def _rotate(self) -> None:
        for number in range(KEPT, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number}"))
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._size = 0

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()


class Journal:
    """Collects the output of all parts. `alarm(name, line)` is called for every line that sounds like trouble."""

    def __init__(self, folder: Path, alarm: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._alarm = alarm
        self._files: dict[str, RotatingFile] = {}
        self._last: dict[str, deque[str]] = {}
        self._open = True
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._pump, name="journal", daemon=True)
        self._thread.start()

    def path(self, name: str) -> Path:
        """Where the lines of a part go."""
        return self._folder / f"{name}.log"

    def pipe(self, name: str) -> int:
        """A descriptor to hand to a child as its output; the caller closes its own copy after the spawn."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        with self._lock:
            if name not in self._files:
                self._files[name] = RotatingFile(self.path(name))
                self._last[name] = deque(maxlen=20)
            self._selector.register(read, selectors.EVENT_READ, (name, bytearray()))
        os.write(self._wake_write, b".")
        return write

    def note(self, name: str, text: str) -> None:
        """A line of the launcher's own in a part's log."""
        with self._lock:
            if name in self._files:
                self._files[name].write(f"--- {text}\n".encode())

    def last_words(self, name: str) -> str:
        """The last line that says anything, best one that sounds like the reason."""
        lines = [line for line in self._last.get(name, ()) if line.strip()]
        alarming = [trouble for line in lines if (trouble := trouble_in(line))]
        chosen = alarming or lines or [""]
        return chosen[-1].strip()[:300]

    def close(self) -> None:
        """Read what is there and end."""
        self._open = False
        os.write(self._wake_write, b".")
        self._thread.join(timeout=5)
        for file in self._files.values():
            file.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _pump(self) -> None:
        while True:
            closing = not self._open
            ready = self._selector.select(0 if closing else None)
            for key, _ in ready:
                self._read(key)
            if closing and all(key.data is None for key, _ in ready):
                break
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._drop(key)

    def _read(self, key: selectors.SelectorKey) -> None:
        try:
            data = os.read(key.fd, 65536)
        except BlockingIOError:
            return
        if key.data is None:
            return
        name, rest = key.data
        if not data:
            self._take(name, bytes(rest) + b"\n" if rest else b"")
            self._drop(key)
            return
        rest += data
        cut = rest.rfind(b"\n") + 1 or (len(rest) if len(rest) > _LONGEST_LINE else 0)
        self._take(name, bytes(rest[:cut]))
        del rest[:cut]

    def _drop(self, key: selectors.SelectorKey) -> None:
        with self._lock:
            self._selector.unregister(key.fd)
        os.close(key.fd)

    def _take(self, name: str, lines: bytes) -> None:
        if not lines:
            return
        with self._lock:
            self._files[name].write(lines)
        for line in lines.splitlines():
            text = line.decode(errors="replace")
            self._last[name].append(text)
            if trouble := trouble_in(text):
                self._alarm(name, trouble)

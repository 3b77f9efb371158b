"""What a person sees: a line per step, then only what went wrong and what came back, with a coloured name before it."""

import os
import re
import sys
import threading
import time
from typing import TextIO

from devstack.notes import Kind, Note

_COLOURS = ("36", "32", "34", "35", "33", "96", "92", "94", "95", "93")
_QUIET_SECONDS = 30.0
_WIDTH = 240
_VARYING = re.compile(r"[0-9a-f]{8,}|\d+")


class Console:
    """Writes notes to a stream. A warning that repeats itself is shown once in half a minute, with its count."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._coloured = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._names: list[str] = []
        self._shown: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def take(self, note: Note) -> None:
        """Show one note; may be called from any thread."""
        with self._lock:
            match note.kind:
                case Kind.STEP:
                    self._write(f"{note.seconds:6.1f} s  {self._name(note.name)}  {note.text}")
                case Kind.EVENT:
                    self._write(f"{time.strftime('%H:%M:%S')}  {self._name(note.name)}  {self._paint(note.text, '1')}")
                case Kind.ALARM:
                    self._alarm(note)

    def line(self, text: str = "") -> None:
        """A line as it is."""
        with self._lock:
            self._write(text)

    def _alarm(self, note: Note) -> None:
        key = note.name, _VARYING.sub("#", note.text)[:120]
        shown_at, swallowed = self._shown.get(key, (-_QUIET_SECONDS, 0))
        now = time.monotonic()
        if now - shown_at < _QUIET_SECONDS:
            self._shown[key] = shown_at, swallowed + 1
            return
        self._forget(now)
        self._shown[key] = now, 0
        more = f" ({swallowed} more like this)" if swallowed else ""
        text = "".join(sign if sign.isprintable() else " " for sign in note.text)[:_WIDTH]
        self._write(f"{time.strftime('%H:%M:%S')}  {self._name(note.name)}  {text}{more}")

    def _forget(self, now: float) -> None:
        """Keep the memory of what was shown small."""
        if len(self._shown) > 500:
            self._shown = {key: seen for key, seen in self._shown.items() if now - seen[0] < _QUIET_SECONDS}

    def _name(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        return self._paint(f"{name:<19}", _COLOURS[self._names.index(name) % len(_COLOURS)])

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone; the stack is not
            self._coloured = False

"""Crash points: adapters wrapped so that a process ends right after a named step. For drills only.

The wish lies in a file, so that it outlives the process that it ends, and whoever starts again does not end again.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, cast

from app.crash_points import CrashStep, CrashWish, read_wish
from app.settings import Misconfigured, Settings

Part = TypeVar("Part")

CRASH_STATUS: Final = 86
"""The exit status of a process that ended at a crash point."""
_log = logging.getLogger(__name__)


class Fuse:
    """The wish of this process's drill. A wish that stands in the setting itself is laid into a file of the working
    directory once: when it is done, that file is empty and stays.
    """

    def __init__(self, setting: str) -> None:
        named = setting.startswith("@")
        self._path = Path(setting[1:] if named else f"crash-point.{setting.replace(':', '-')}")
        if not named:
            self._lay(setting)
        self._lock = threading.Lock()
        self._wished = ""
        self._passed = 0

    def _lay(self, wish: str) -> None:
        try:
            with self._path.open("x", encoding="utf-8") as fresh:
                fresh.write(wish)
        except FileExistsError:
            _log.info("crash point %s was laid before; %s says what is left of it", wish, self._path)
        except OSError as error:
            raise Misconfigured(f"CRASH_POINT cannot be noted in {self._path}: {error.strerror}; use @FILE") from None

    def passed(self, step: CrashStep) -> None:
        """This step is done; ends the process if that is wished."""
        with self._lock:
            wish = self._wish()
            if wish is None or wish.step is not step:
                return
            self._passed += 1
            if self._passed >= wish.passing and self._take(wish):
                _end(step)

    def _wish(self) -> CrashWish | None:
        text = read_wish(self._path)
        if text != self._wished:
            self._wished, self._passed = text, 0
        try:
            return CrashWish.parse(text) if text else None
        except ValueError as error:
            _log.warning("%s: %s", self._path, error)
            return None

    def _take(self, wish: CrashWish) -> bool:
        """Note that the wish is done; false when another process was faster."""
        with self._path.open("r+", encoding="utf-8") as shared:
            fcntl.flock(shared, fcntl.LOCK_EX)
            if shared.read().strip() != self._wished:
                return False
            shared.seek(0)
            shared.truncate()
            shared.write(wish.rest)
            shared.flush()
            return True


def _end(step: CrashStep) -> NoReturn:
    _log.warning("crash point %s: process %s ends here", step, os.getpid())
    os._exit(CRASH_STATUS)


class _EndsAfter:
    """Passes everything on to a part and tells the fuse when one of these methods has returned."""

    def __init__(self, part: object, methods: tuple[str, ...], tell: Callable[[], None]) -> None:
        self._part = part
        self._methods = methods
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._then_tell(found) if name in self._methods else found

    def _then_tell(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            self._tell()
            return result

        return call


def ends_after(part: Part, step: CrashStep, settings: Settings, *methods: str) -> Part:
    """The part itself, unless a drill has set a crash point: then one that may end the process after these methods."""
    if not settings.crash_point:
        return part
    fuse = Fuse(settings.crash_point)
    return cast(Part, _EndsAfter(part, methods, lambda: fuse.passed(step)))

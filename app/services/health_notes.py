"""Notes on dependencies, written when they change or grow old; losing one is no reason to fail what it is about."""

import logging

from app.domain.errors import StoreUnavailable
from app.domain.ports import Clock, HealthNotes

_REPEAT_SECONDS = 5.0
_log = logging.getLogger(__name__)


class QuietNotes:
    """`HealthNotes` that writes a note only when it says something new, and never raises."""

    def __init__(self, notes: HealthNotes, clock: Clock) -> None:
        self._notes = notes
        self._clock = clock
        self._last: dict[str, tuple[str, str, float]] = {}

    def note(self, component: str, status: str, detail: str) -> None:
        """Write the note unless the same one was written within 5 s."""
        known = self._last.get(component)
        now = self._clock.monotonic()
        if known is not None and known[:2] == (status, detail) and now - known[2] < _REPEAT_SECONDS:
            return
        try:
            self._notes.note(component, status, detail)
            self._last[component] = (status, detail, now)
        except StoreUnavailable as error:
            _log.warning("health of %s not noted: %s", component, error)

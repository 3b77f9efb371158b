"""When to try again: a pure function of how often it failed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling pauses in seconds from `base` to `cap`, spread by ten per cent either way."""

    base: float = 1.0
    cap: float = 60.0

    def pause(self, failures: int, jitter: float) -> float:
        """Seconds to wait after this many earlier failures; `jitter` in [0, 1) chooses within the spread."""
        delay = min(self.base * 2.0 ** min(failures, 30), self.cap)
        return delay * (0.9 + 0.2 * jitter)

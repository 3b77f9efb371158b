"""How much to offer a peer at once: little to one that has just come back, more while it answers well. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ramp:
    """Batches double from `first` to `full` while they are answered within `well_seconds`, halve above twice that."""

    first: int = 4
    full: int = 100
    well_seconds: float = 0.5

    def after(self, size: int, seconds: float | None) -> int:
        """The next batch after one of `size` that took so many seconds; None says that it failed."""
        if seconds is None:
            return min(self.first, self.full)
        if seconds <= self.well_seconds:
            return min(size * 2, self.full)
        return max(size // 2, 1) if seconds > 2 * self.well_seconds else size

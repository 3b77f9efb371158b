"""Our way and the bare one over the very same rows: what a row costs, from a thousand rows to a million."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

SIZES = (1_000, 10_000, 100_000, 1_000_000)
HEAD = f"{'rows':>11}{'bytes/row':>11}{'bare us/row':>13}{'ours us/row':>13}{'ratio':>8}{'grown by':>12}\n"
_MIB = 2**20
Measure = Callable[[int, int], tuple[int, float, float]]
"""(first row, rows) to their bytes, our seconds and the bare ones."""


@dataclass(slots=True)
class Stretch:
    """So many rows and their bytes, and the seconds that both ways took for them."""

    rows: int = 0
    size: int = 0
    ours: float = 0.0
    bare: float = 0.0

    def add(self, rows: int, size: int, ours: float, bare: float) -> None:
        """The same for some rows more."""
        self.rows += rows
        self.size += size
        self.ours += ours
        self.bare += bare

    @property
    def ratio(self) -> float:
        """How fast ours is; 1 is as fast as bare."""
        return self.bare / self.ours

    def line(self, at: int, grown: int) -> str:
        """A line of the table: when `at` rows were through, and by how many bytes our process had grown."""
        bare, ours = (1e6 * seconds / self.rows for seconds in (self.bare, self.ours))
        return (
            f"{at:>11,}{self.size / self.rows:>11.0f}{bare:>13.1f}{ours:>13.1f}{self.ratio:>8.2f}"
            f"{grown / _MIB:>8.1f} MiB\n"
        )


def climb(sizes: Sequence[int], step: int, resident: Callable[[], int], measure: Measure) -> Stretch:
    """Both ways by turns, `step` rows each, up to the largest of `sizes`; a line at each of them tells of the rows that
    came since the line before. All together comes back.
    """
    sys.stdout.write(HEAD)
    whole, at, first = Stretch(), 0, 0
    for size in sizes:
        stretch = Stretch()
        for start, rows in _turns(at, size, step):
            told = measure(start, rows)
            stretch.add(rows, *told)
            whole.add(rows, *told)
            first = first or resident()
        at = size
        sys.stdout.write(stretch.line(at, resident() - first))
        sys.stdout.flush()
    return whole


def _turns(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    return ((at, min(step, end - at)) for at in range(start, end, step))

"""An export that its reader waits for: one moment's memories as lines, in constant memory, and a last line that says
whether these are all. Whatever goes wrong in the middle ends it without that line.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import chain

from app.domain.browse import MemoryFilter
from app.domain.errors import SlowReader
from app.domain.export_ports import ExportStream, MemorySnapshot
from app.domain.exports import last_line
from app.domain.ports import Clock

_PIECE_BYTES = 65_536
"""Small, so that a reader's pace is looked at often."""
_LONGEST_SECONDS = 900.0
"""A snapshot keeps Postgres from cleaning up: a reader that drips is not waited for longer."""


@dataclass(frozen=True, slots=True)
class Exporting:
    """What exporting needs; `max_rows` is the most that one export has."""

    stream: ExportStream
    clock: Clock
    max_rows: int


def export_memory(wanted: MemoryFilter, limit: int | None, exporting: Exporting) -> Generator[bytes]:
    """The export in pieces. What refuses it (`OverLimit`, `StoreUnavailable`) is raised here, before the first one."""
    pieces = _pieces(wanted, min(limit or exporting.max_rows, exporting.max_rows), exporting)
    next(pieces)
    return pieces


def _pieces(wanted: MemoryFilter, limit: int, exporting: Exporting) -> Generator[bytes]:
    """The first one is empty: by then the first page was read."""
    until = exporting.clock.monotonic() + _LONGEST_SECONDS
    rows = 0
    with exporting.stream.snapshot(wanted) as snapshot:
        pages = snapshot.pages(limit)
        first = next(pages, [])
        yield b""
        for lines in chain([first], pages):
            rows += len(lines)
            for piece in _split("".join(f"{line}\n" for line in lines).encode()):
                _check_pace(exporting.clock, until)
                yield piece
        total = _total(snapshot, rows, limit)
    # After the transaction's end: whoever has this line has everything.
    yield f"{last_line(rows, total)}\n".encode()


def _split(page: bytes) -> Iterator[bytes]:
    for begin in range(0, len(page), _PIECE_BYTES):
        yield page[begin : begin + _PIECE_BYTES]


def _check_pace(clock: Clock, until: float) -> None:
    if clock.monotonic() > until:
        raise SlowReader(f"this export was not read within {_LONGEST_SECONDS:.0f} s; ask for a job instead")


def _total(snapshot: MemorySnapshot, rows: int, limit: int) -> int:
    return rows if rows < limit else snapshot.count()

"""Progress of long work, on the error stream of a person; nothing anywhere else."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bar(Protocol):
    """Where it stands; what is not said stays as it was."""

    def __call__(self, done: float, total: float | None = None, what: str | None = None) -> None: ...


def bytes_bar(what: str, total: float | None = None) -> AbstractContextManager[Bar]:
    """A bar that counts bytes."""
    return _bar(what, total, DownloadColumn(), TransferSpeedColumn())


def rows_bar(what: str, total: float | None = None) -> AbstractContextManager[Bar]:
    """A bar that counts anything else."""
    return _bar(what, total, MofNCompleteColumn())


@contextmanager
def _bar(what: str, total: float | None, *columns: ProgressColumn) -> Iterator[Bar]:
    console = Console(stderr=True)
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
    )
    with shown:
        task = shown.add_task(what, total=total)

        def stand(done: float, total: float | None = None, what: str | None = None) -> None:
            shown.update(task, completed=done, total=total, description=what)

        yield stand

"""What the stack's processes hold right now, read from the operating system and from Postgres itself."""

from contextlib import suppress
from pathlib import Path

import psutil

from devstack import tree
from drills.observe import Database
from drills.record import Holdings, Vitals

SERVERS = tree.SERVERS


def holdings(data_dir: Path, database: Database) -> Holdings:
    """Every process of ours on this stack; the servers are somebody else's work."""
    found: list[Vitals] = []
    for part, processes in tree.census(data_dir).items():
        if part not in SERVERS:
            found += [vitals for process in processes if (vitals := _vitals(part, process))]
    return Holdings(tuple(found), database.connections())


def _vitals(part: str, process: psutil.Process) -> Vitals | None:
    with suppress(psutil.Error, OSError), process.oneshot():
        return Vitals(part, process.pid, process.num_threads(), process.num_fds(), process.memory_info().rss)
    return None

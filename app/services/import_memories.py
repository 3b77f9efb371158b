"""Memories from a file: kept in portions, each in a transaction of its own, with a word about every line that was not.

Running it twice is safe: an id says the same thing for ever, and whoever repeats it changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

from app.domain.imports import Imported
from app.domain.ledger import Acceptance, Ledger, Standing
from app.domain.memory import Memory, Place
from app.domain.ports import Doorbell
from app.routing import TaskName
from app.services.memory_form import WrongMemory, memory_in

PORTION = 500
MOST_PROBLEMS = 1_000
_REPEATED = frozenset({Standing.WAITING, Standing.REMEMBERED})


@dataclass(frozen=True, slots=True)
class Importing:
    """What an import needs. A named `tenant` gets everything; else each memory says whose it is, or `defaults` do."""

    ledger: Ledger
    doorbell: Doorbell
    defaults: Place
    tenant: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one line did not become a memory."""

    line: int
    id: str | None
    error: str


@dataclass(slots=True)
class ImportReport:
    """What became of the lines; the first problems in words."""

    lines: int = 0
    accepted: int = 0
    repeated: int = 0
    skipped: int = 0
    rejected: int = 0
    problems: list[Problem] = field(default_factory=list)

    def reject(self, line: int, event_id: str | None, error: str) -> None:
        """One line that is wrong."""
        self.rejected += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(line, event_id, error))


def import_memories(found: Iterable[Imported], now: datetime, importing: Importing) -> ImportReport:
    """Keep what can be kept; `StoreUnavailable` when Postgres goes away: sending the file again goes on from there."""
    report = ImportReport()
    for portion in _portions(_judged(found, now, importing, report)):
        accepted = importing.ledger.accept([memory for _, memory in portion])
        for (line, _), outcome in zip(portion, accepted.memories, strict=True):
            _count(report, line, outcome)
        importing.doorbell.ring(TaskName.SYNC_MEMORIES)
    return report


def _judged(
    found: Iterable[Imported], now: datetime, importing: Importing, report: ImportReport
) -> Iterator[tuple[int, Memory]]:
    for each in found:
        report.lines += 1
        if each.skipped:
            report.skipped += 1
        elif each.item is None:
            report.reject(each.line, each.id or None, each.error)
        else:
            try:
                yield each.line, _memory(each.item, now, importing)
            except WrongMemory as error:
                report.reject(each.line, each.id or error.event_id, str(error))


def _memory(item: Mapping[str, Any], now: datetime, importing: Importing) -> Memory:
    """What stands beside the payload in an export goes back to where it came from: it never becomes a part of it."""
    said = {name: value for name, value in item.items() if name not in ("tenant", "universe")}
    tenant, universe = (value if isinstance(value := item.get(name), str) else "" for name in ("tenant", "universe"))
    defaults = importing.defaults
    place = Place(tenant or defaults.tenant, defaults.namespace, universe or defaults.universe)
    memory = memory_in(said, place, now, importing.traceparent)
    return replace(memory, place=replace(memory.place, tenant=importing.tenant)) if importing.tenant else memory


def _portions(memories: Iterator[tuple[int, Memory]]) -> Iterator[list[tuple[int, Memory]]]:
    while portion := list(islice(memories, PORTION)):
        yield portion


def _count(report: ImportReport, line: int, outcome: Acceptance) -> None:
    if outcome.standing is Standing.NEW:
        report.accepted += 1
    elif outcome.standing in _REPEATED:
        report.repeated += 1
    else:
        report.reject(line, outcome.event_id, outcome.reason)

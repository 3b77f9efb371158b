"""The lease rules of `app/adapters/sql/leases.py` in a dictionary."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from app.domain.leases import ALONE_AFTER_DEATHS, MAX_ATTEMPTS, ORPHAN_SECONDS, Lease
from tests.fakes_parts import FakeClock

Thing = TypeVar("Thing")


@dataclass
class Row(Generic[Thing]):
    """One owed row: what it is about and how far it is."""

    key: str
    thing: Thing
    state: str
    number: int
    run_at: float
    attempts: int = 0
    failures: int = 0
    excused: int = 0
    runs: int = 0
    outage: bool = False
    owner: str | None = None
    lease_until: float = 0.0
    last_error: str | None = None
    created_at: float = 0.0
    finished_at: float | None = None

    @property
    def lease(self) -> Lease:
        assert self.owner is not None
        return Lease(self.key, self.owner, self.attempts, self.failures)

    @property
    def is_worn_out(self) -> bool:
        return self.attempts - self.excused > MAX_ATTEMPTS


def _without_company(due: list[Row[Thing]]) -> list[Row[Thing]]:
    suspects = [row for row in due if row.attempts - row.excused >= ALONE_AFTER_DEATHS]
    return suspects[:1] or due


@dataclass
class WorkTable(Generic[Thing]):
    """Rows of one kind; `waiting` and `claimed` are its states while they are owed."""

    clock: FakeClock
    waiting: str
    claimed: str
    isolates_suspects: bool = False
    rows: dict[str, Row[Thing]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)
    _moments: "count[int]" = field(default_factory=count)

    def add(self, key: str, thing: Thing) -> None:
        number, now = next(self._numbers), self.clock.monotonic()
        self.rows[key] = Row(key, thing, self.waiting, number, now, created_at=self._moment())

    def _moment(self) -> float:
        """Now, and a little later each time, as the database's clock is."""
        return self.clock.monotonic() + next(self._moments) / 1e6

    @property
    def owed(self) -> list[Row[Thing]]:
        return [row for row in self.rows.values() if row.state in (self.waiting, self.claimed)]

    def is_due(self, row: Row[Thing]) -> bool:
        now = self.clock.monotonic()
        return row in self.owed and row.run_at <= now and (row.owner is None or row.lease_until <= now)

    def claim(
        self, owner: str, seconds: float, limit: int, allowed: Callable[[Row[Thing]], bool] = lambda _: True
    ) -> list[Row[Thing]]:
        due = sorted(
            (row for row in self.rows.values() if self.is_due(row) and allowed(row)),
            key=lambda row: (row.run_at, row.number),
        )
        taken = _without_company(due[:limit])
        for row in taken:
            row.state, row.owner = self.claimed, owner
            row.attempts += 1
            row.runs += 1
            row.lease_until = self.clock.monotonic() + seconds
        return taken

    def renew(self, owner: str, seconds: float, keys: Iterable[str]) -> None:
        now, working = self.clock.monotonic(), set(keys)
        for row in self.owed:
            if row.owner == owner and row.key in working:
                row.lease_until = now + seconds
            elif row.owner == owner and row.lease_until < now + seconds - ORPHAN_SECONDS:
                row.lease_until = now

    def holds(self, lease: Lease) -> bool:
        row = self.rows.get(lease.key)
        return (
            row is not None and row.state == self.claimed and (row.owner, row.attempts) == (lease.owner, lease.attempts)
        )

    def settle(self, leases: Iterable[Lease], state: str, reason: str | None = None) -> set[str]:
        return {row.key for row in self._end(leases, lambda row: self.close(row, state, reason))}

    def close(self, row: Row[Thing], state: str, reason: str | None = None) -> None:
        row.state, row.last_error, row.outage = state, reason, False
        row.finished_at = self._moment()

    def postpone(self, leases: Iterable[Lease], seconds: float, reason: str, outage: bool) -> set[str]:
        def change(row: Row[Thing]) -> None:
            row.state, row.last_error, row.outage = self.waiting, reason, outage
            row.run_at = self.clock.monotonic() + seconds
            row.failures += 1

        return {row.key for row in self._end(leases, change)}

    def wait(self, leases: Iterable[Lease], seconds: float, reason: str) -> set[str]:
        def change(row: Row[Thing]) -> None:
            row.state, row.last_error = self.waiting, reason
            row.run_at = self.clock.monotonic() + seconds

        return {row.key for row in self._end(leases, change)}

    def release(self, leases: Iterable[Lease]) -> set[str]:
        def change(row: Row[Thing]) -> None:
            row.state = self.waiting

        return {row.key for row in self._end(leases, change)}

    def lose(self, leases: Iterable[Lease], reason: str) -> None:
        for lease in leases:
            if self.holds(lease):
                row = self.rows[lease.key]
                row.state, row.owner, row.lease_until = self.waiting, None, 0.0
                row.run_at, row.last_error = self.clock.monotonic(), reason

    def excuse(self, leases: Iterable[Lease]) -> None:
        for lease in dict.fromkeys(leases):
            row = self.rows[lease.key]
            if self.holds(lease):
                row.state, row.owner, row.lease_until = self.waiting, None, 0.0
                row.excused += 1
            elif row in self.owed and row.attempts > lease.attempts:
                row.excused = min(row.excused + 1, row.attempts - (row.owner is not None))

    def _end(self, leases: Iterable[Lease], change: Callable[[Row[Thing]], None]) -> list[Row[Thing]]:
        ours = [self.rows[lease.key] for lease in leases if self.holds(lease)]
        for row in ours:
            change(row)
            row.owner, row.lease_until = None, 0.0
            row.excused += 1
        return ours

    def wake(self, limit: int) -> int:
        asleep = [row for row in self.owed if row.outage and row.owner is None][:limit]
        for row in asleep:
            row.run_at, row.outage = self.clock.monotonic(), False
        return len(asleep)

    def is_held(self, row: Row[Thing]) -> bool:
        return row in self.owed and row.owner is not None and row.lease_until > self.clock.monotonic()

    def hurry(self, key: str) -> bool:
        row = self.rows.get(key)
        if row is None or row not in self.owed or self.is_held(row):
            return False
        row.run_at, row.outage = self.clock.monotonic(), False
        return True

    def revive(self, key: str) -> bool:
        row = self.rows.get(key)
        if row is None or row.state != "dead":
            return False
        row.state, row.finished_at, row.run_at = self.waiting, None, self.clock.monotonic()
        row.excused, row.failures, row.outage = row.attempts, 0, False
        return True

    def discard(self, key: str) -> bool:
        row = self.rows.get(key)
        if row is None or row.state != "dead":
            return False
        row.state, row.finished_at = "discarded", self._moment()
        return True

    def end_leases_of(self, is_gone: Callable[[str], bool]) -> int:
        now = self.clock.monotonic()
        held = [row for row in self.owed if row.owner and row.lease_until > now and is_gone(row.owner)]
        for row in held:
            row.lease_until = now
            if self.isolates_suspects and row.attempts - row.excused > ALONE_AFTER_DEATHS:
                row.excused += 1
        return len(held)

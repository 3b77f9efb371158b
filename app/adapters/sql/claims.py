"""What every store of claimed work has: its leases, their owner, and what to do when it is not known who holds what."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

from sqlalchemy import Connection, Engine, RowMapping

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.leases import Leases, is_worn_out
from app.adapters.sql.presence import Holder
from app.adapters.sql.work_kinds import WorkKind
from app.domain.errors import CommitUnheard, StoreUnavailable
from app.domain.leases import MAX_ATTEMPTS, Lease


class Claims:
    """The claims of one owner on one kind of work."""

    worn_out: ClassVar[tuple[str, str] | None] = None
    """Last state and reason of a row over which too many workers died; None where whoever claims it decides."""

    def __init__(self, engine: Engine, kind: WorkKind, presence: Holder, lease_seconds: float) -> None:
        self._engine = engine
        self._kind = kind
        self._presence = presence
        self._leases = Leases(kind, presence.owner, lease_seconds)

    def working_on(self, key: str) -> AbstractContextManager[None]:
        """While the block runs, the heartbeat renews a lease on this row."""
        return self._presence.working_on(key, self._kind)

    def due(self, limit: int) -> list[str]:
        """Keys of rows that may be claimed now, in their order."""
        with transaction(self._engine) as connection:
            return self._leases.due(connection, limit)

    def _claim(self, limit: int, keys: Sequence[str] | None = None) -> list[RowMapping]:
        """Due rows (with `keys`, only of these) that are ours now for certain; the spent ones are ended instead."""
        rows: list[RowMapping] = []
        try:
            with transaction(self._engine) as connection:
                rows.extend(self._leases.claim(connection, limit, keys))
                self._end_spent(connection, [row for row in rows if self._is_spent(row)])
        except CommitUnheard:
            held = self._really_held(self._leases_of(rows))
            rows = [row for row in rows if str(row[self._kind.key]) in held]
        return [row for row in rows if not self._is_spent(row)]

    def _is_spent(self, row: RowMapping) -> bool:
        """Whether this claim was one too many: the row is ended instead of worked on."""
        return self.worn_out is not None and is_worn_out(row, MAX_ATTEMPTS)

    def _end_spent(self, connection: Connection, rows: Sequence[RowMapping]) -> None:
        if self.worn_out is not None:
            self._leases.settle(connection, self._leases_of(rows), *self.worn_out)

    def _leases_of(self, rows: Iterable[RowMapping]) -> list[Lease]:
        return [self._leases.lease_of(row) for row in rows]

    def _end(self, leases: Sequence[Lease], statement: Callable[[Connection], set[str]]) -> None:
        """End these claims, and say that we live for those that were lost meanwhile; `statement` gives the keys that
        were still ours.
        """
        ours = resolved(lambda _: self._run(statement))
        self._live_on([lease for lease in leases if lease.key not in ours])

    def _run(self, statement: Callable[[Connection], set[str]]) -> set[str]:
        with transaction(self._engine) as connection:
            return statement(connection)

    def _really_held(self, leases: Sequence[Lease]) -> set[str]:
        """The keys of these claims that came true, where the answer to their COMMIT was lost."""
        try:
            with transaction(self._engine) as connection:
                return self._leases.held(connection, leases)
        except StoreUnavailable:
            self._live_on(leases)
            raise

    def _live_on(self, leases: Sequence[Lease]) -> None:
        """These claims are lost or could not be ended, and we live; the heartbeat says so."""
        self._presence.survived(self._kind, leases)

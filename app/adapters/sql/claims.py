"""What every store of claimed work has: its leases, their owner, and what to do when it is not known who holds what."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.leases import Leases
from app.adapters.sql.presence import Holder
from app.adapters.sql.work_kinds import WorkKind
from app.domain.errors import StoreUnavailable
from app.domain.leases import Lease


class Claims:
    """The claims of one owner on one kind of work."""

    def __init__(self, engine: Engine, kind: WorkKind, presence: Holder, lease_seconds: float) -> None:
        self._engine = engine
        self._kind = kind
        self._presence = presence
        self._leases = Leases(kind, presence.owner, lease_seconds)

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

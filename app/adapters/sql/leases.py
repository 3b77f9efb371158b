"""The one leasing mechanism: claim, renew, settle, postpone, wait, release, lose, excuse. Every owed row uses it.

A claim is one `UPDATE ... RETURNING` that checks state, lease, due time and order and counts the attempt, on the
database's clock. Whatever ends a claim is fenced by (owner, attempts): what a zombie brings changes no row.
`attempts` counts claims and only grows; `excused` counts claims that ended in words or whose owner lived to say that
it lost them, so that `attempts - excused` is how often a worker died with the row in its hands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.adapters.sql.work_kinds import LEASED, WorkKind
from app.domain.leases import ALONE_AFTER_DEATHS, ORPHAN_SECONDS, Lease
from app.telemetry.metrics import WORK_DEAD, WORK_FENCED

_HELD = """unnest(CAST(:keys AS text[]), CAST(:owners AS text[]), CAST(:attempts AS integer[]))
                AS held (key, owner, attempts)"""
"""The claims in question, as rows; their columns are `_columns`."""
# As an equality the planner would look through all that an owner holds, once for each row.
_IS_OURS = "w.lease_owner IS NOT DISTINCT FROM held.owner AND w.attempts = held.attempts"


class Leases:
    """The statements of one kind of work, run on the caller's connection and so in the caller's transaction."""

    def __init__(self, kind: WorkKind, owner: str, lease_seconds: float) -> None:
        self._kind = kind
        self._owner = owner
        self._seconds = lease_seconds

    def due(self, connection: Connection, limit: int) -> list[str]:
        """Keys of rows that may be claimed now, in their order."""
        kind = self._kind
        statement = f"SELECT w.{kind.key} FROM {kind.table} w WHERE {kind.due_sql} ORDER BY {kind.order} LIMIT :limit"  # noqa: S608
        return [str(key) for key in connection.execute(text(statement), {"limit": limit}).scalars()]

    def claim(self, connection: Connection, limit: int, keys: Sequence[str] | None = None) -> Sequence[RowMapping]:
        """Up to `limit` due rows (with `keys`, only of these), now leased to this owner; whole rows are returned, each
        with the `deaths` before this claim and its time. A suspect, with which workers died before, comes alone.
        """
        # The locked rows stay where they are until this statement has changed them, so their place finds them again.
        kind = self._kind
        chosen = "true" if keys is None else f"w.{kind.key} = ANY(CAST(:keys AS {kind.key_type}[]))"
        statement = f"""
            WITH due AS MATERIALIZED (
                SELECT w.ctid AS place, w.attempts - w.excused AS deaths FROM {kind.table} w
                WHERE {chosen} AND {kind.due_sql}
                ORDER BY {kind.order} LIMIT :limit FOR UPDATE OF w SKIP LOCKED),
            taken AS (
                (SELECT * FROM due WHERE deaths >= {ALONE_AFTER_DEATHS} LIMIT 1)
                UNION ALL
                SELECT * FROM due WHERE NOT EXISTS (SELECT 1 FROM due WHERE deaths >= {ALONE_AFTER_DEATHS}))
            UPDATE {kind.table} w SET state = '{kind.claimed}', attempts = w.attempts + 1, lease_owner = :owner,
                   lease_until = now() + make_interval(secs => :seconds) {kind.on_claim}
            FROM taken WHERE w.ctid = taken.place
            RETURNING w.*, taken.deaths, now() AS claimed_at"""  # noqa: S608
        parameters: dict[str, Any] = {"owner": self._owner, "seconds": self._seconds, "limit": limit}
        if keys is not None:
            parameters["keys"] = list(keys)
        return connection.execute(text(statement), parameters).mappings().all()

    def lease_of(self, row: RowMapping) -> Lease:
        """The lease that a claimed row carries."""
        return Lease(str(row[self._kind.key]), row["lease_owner"], row["attempts"], row["failures"])

    def settle(
        self, connection: Connection, leases: Sequence[Lease], state: str, reason: str | None = None
    ) -> set[str]:
        """End these claims in a last state; the keys that were still ours (others belong to somebody else now)."""
        ended = self._end(
            connection,
            leases,
            "state = :state, finished_at = now(), excused = w.excused + 1, outage = false, last_error = :reason",
            {"state": state, "reason": reason},
        )
        if state == "dead":
            WORK_DEAD.labels(self._kind.name).inc(len(ended))
        return ended

    def postpone(
        self, connection: Connection, leases: Sequence[Lease], seconds: float, reason: str, outage: bool
    ) -> set[str]:
        """Give rows back because a peer failed; they are due again after `seconds`, sooner when an outage ends."""
        return self._end(
            connection,
            leases,
            f"state = '{self._kind.waiting}', run_at = now() + make_interval(secs => :pause), last_error = :reason,"
            " failures = w.failures + 1, excused = w.excused + 1, outage = :outage",
            {"pause": seconds, "reason": reason, "outage": outage},
        )

    def wait(self, connection: Connection, leases: Sequence[Lease], seconds: float, reason: str) -> set[str]:
        """Give rows back unbegun because what has to be asked first is away; no failure is counted."""
        changes = f"state = '{self._kind.waiting}', run_at = now() + make_interval(secs => :pause)"
        changes += f", last_error = :reason, excused = w.excused + 1 {self._kind.on_wait}"
        return self._end(connection, leases, changes, {"pause": seconds, "reason": reason})

    def release(self, connection: Connection, leases: Sequence[Lease]) -> set[str]:
        """Give rows back untouched: they are due now."""
        return self._end(connection, leases, f"state = '{self._kind.waiting}', excused = w.excused + 1", {})

    def lose(self, connection: Connection, leases: Sequence[Lease], reason: str) -> set[str]:
        """Give rows back whose process ended over them: they are due now, and it counts as a death."""
        changes = f"state = '{self._kind.waiting}', run_at = now(), last_error = :reason"
        return self._end(connection, leases, changes, {"reason": reason})

    def excuse(self, connection: Connection, leases: Sequence[Lease]) -> None:
        """Count these claims as no deaths, for their owner lives: what is still ours is given back, what somebody has
        taken over stays theirs. Saying it twice can only give a row another life.
        """
        left = list(leases)
        while left:
            one_for_each_row = {lease.key: lease for lease in left}
            self._excuse(connection, list(one_for_each_row.values()))
            left = [lease for lease in left if one_for_each_row[lease.key] is not lease]

    def _excuse(self, connection: Connection, leases: Sequence[Lease]) -> None:
        kind = self._kind
        statement = f"""
            UPDATE {kind.table} w
            SET excused = LEAST(w.excused + 1, w.attempts - CASE WHEN w.attempts > held.attempts
                                                                  AND w.lease_owner IS NOT NULL THEN 1 ELSE 0 END),
                state = CASE WHEN w.attempts = held.attempts THEN '{kind.waiting}' ELSE w.state END,
                lease_owner = CASE WHEN w.attempts = held.attempts THEN NULL ELSE w.lease_owner END,
                lease_until = CASE WHEN w.attempts = held.attempts THEN NULL ELSE w.lease_until END
            FROM {_HELD} WHERE {self._same_row} AND w.state IN ({kind.owed_sql})
              AND (w.attempts > held.attempts OR {_IS_OURS})"""  # noqa: S608
        connection.execute(text(statement), _columns(leases))

    def _end(
        self, connection: Connection, leases: Sequence[Lease], changes: str, parameters: Mapping[str, Any]
    ) -> set[str]:
        if not leases:
            return set()
        kind = self._kind
        statement = f"""
            UPDATE {kind.table} w SET lease_owner = NULL, lease_until = NULL, {changes}
            FROM {_HELD} WHERE {self._same_row}
              AND w.state = '{kind.claimed}' AND {_IS_OURS}
            RETURNING w.{kind.key}::text"""  # noqa: S608
        ours = set(connection.execute(text(statement), {**_columns(leases), **parameters}).scalars())
        WORK_FENCED.labels(kind.name).inc(len(leases) - len(ours))
        return ours

    @property
    def _same_row(self) -> str:
        """The row `w` of the claim `held`; see `_HELD`."""
        return f"w.{self._kind.key} = CAST(held.key AS {self._kind.key_type})"

    def held(self, connection: Connection, leases: Sequence[Lease]) -> set[str]:
        """The keys that these claims hold; waits for a claim whose transaction is still under way."""
        return self._look(connection, leases, "lease_owner = held_by", {})

    def ended(self, connection: Connection, leases: Sequence[Lease], state: str) -> set[str]:
        """The keys that these very claims have brought into this last state; waits for one still under way."""
        return self._look(connection, leases, "state = :state AND lease_owner IS NULL", {"state": state})

    def _look(
        self, connection: Connection, leases: Sequence[Lease], condition: str, parameters: Mapping[str, Any]
    ) -> set[str]:
        # Locked by key alone: a row whose last kept version does not meet the condition would be passed over unlocked.
        statement = f"""
            WITH rows AS MATERIALIZED (
                SELECT w.{self._kind.key}::text AS key, w.state, w.lease_owner, w.attempts,
                       held.owner AS held_by, held.attempts AS held_attempts
                FROM {self._kind.table} w JOIN {_HELD} ON {self._same_row} FOR UPDATE OF w)
            SELECT key FROM rows WHERE attempts = held_attempts AND {condition}"""  # noqa: S608
        return set(connection.execute(text(statement), {**_columns(leases), **parameters}).scalars())

    def renew(self, connection: Connection, keys: Sequence[str]) -> None:
        """Keep these rows for another lease, and end the leases of this owner's rows that nobody works on any more."""
        kind = self._kind
        statement = f"""
            UPDATE {kind.table} w
            SET lease_until = CASE WHEN w.{kind.key}::text = ANY(CAST(:keys AS text[]))
                                   THEN now() + make_interval(secs => :seconds) ELSE now() END
            WHERE w.lease_owner = :owner AND w.state IN ({kind.owed_sql})
              AND (w.{kind.key}::text = ANY(CAST(:keys AS text[]))
                   OR w.lease_until < now() + make_interval(secs => :seconds - {ORPHAN_SECONDS}))"""  # noqa: S608
        connection.execute(text(statement), {"keys": list(keys), "owner": self._owner, "seconds": self._seconds})


def _columns(leases: Sequence[Lease]) -> dict[str, list[Any]]:
    return {
        "keys": [lease.key for lease in leases],
        "owners": [lease.owner for lease in leases],
        "attempts": [lease.attempts for lease in leases],
    }


_HOLDERS = " UNION ".join(
    f"SELECT lease_owner FROM {kind.table} WHERE lease_owner IS NOT NULL AND lease_until > now()"  # noqa: S608
    for kind in LEASED
)
_RETURN_SECONDS = 3
"""A server that has just started knows nobody's lock: so long its clients have to come back."""
_GONE = f"""
    SELECT lease_owner FROM ({_HOLDERS}) held
    WHERE CASE WHEN pg_postmaster_start_time() < now() - interval '{_RETURN_SECONDS} seconds'
               THEN pg_try_advisory_xact_lock(hashtextextended(lease_owner, 0)) ELSE false END"""  # noqa: S608


def end_leases_of_the_dead(connection: Connection) -> dict[str, int]:
    """End at once every lease whose owner's process is gone: its advisory lock can be had. Rows freed, by kind."""
    owners = list(connection.execute(text(_GONE)).scalars())
    return {kind.name: _end_leases(connection, kind, owners) for kind in LEASED} if owners else {}


def _end_leases(connection: Connection, kind: WorkKind, owners: list[str]) -> int:
    statement = f"""
        UPDATE {kind.table} SET lease_until = now() {kind.on_owner_gone}
        WHERE lease_owner = ANY(:owners) AND lease_until > now()"""  # noqa: S608
    return connection.execute(text(statement), {"owners": owners}).rowcount


def is_worn_out(row: RowMapping, max_deaths: int) -> bool:
    """Whether so many workers died with this claimed row that it must not be tried again."""
    return bool(row["deaths"] >= max_deaths)


def hurry(connection: Connection, kind: WorkKind, key: str) -> bool:
    """Make an owed row due now, unless a worker has it in hand; whether it did."""
    free = "(w.lease_until IS NULL OR w.lease_until <= now())"
    return _change(connection, kind, key, "run_at = now(), outage = false", f"w.state IN ({kind.owed_sql}) AND {free}")


def revive(connection: Connection, kind: WorkKind, key: str, ended: str = "dead") -> bool:
    """Give a row that has ended so as many lives as a new one has; its attempts go on counting, for they are what
    fences.
    """
    changes = "finished_at = NULL, run_at = now(), excused = w.attempts, failures = 0, outage = false"
    return _change(connection, kind, key, f"state = '{kind.waiting}', {changes}", f"w.state = '{ended}'")


def discard(connection: Connection, kind: WorkKind, key: str) -> bool:
    """Put a dead row away for good; whether it was dead."""
    return _change(connection, kind, key, "state = 'discarded', finished_at = now()", "w.state = 'dead'")


def _change(connection: Connection, kind: WorkKind, key: str, changes: str, condition: str) -> bool:
    statement = f"""
        UPDATE {kind.table} w SET {changes} WHERE w.{kind.key} = CAST(:key AS {kind.key_type}) AND {condition}"""  # noqa: S608
    return bool(connection.execute(text(statement), {"key": key}).rowcount)

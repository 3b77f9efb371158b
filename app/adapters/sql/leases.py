"""The one leasing mechanism: claim, renew, settle, postpone, release, bury, wake. Every kind of owed row uses it.

A claim is one `UPDATE ... RETURNING` that checks state, lease, due time and order and counts the attempt, on the
database's clock. Whatever ends a claim is fenced by (owner, attempts): what a zombie brings changes no row.
`attempts` counts claims and only grows; `excused` counts claims that ended in words, so that
`attempts - excused` is how often a worker died with the row in its hands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.adapters.sql.work_kinds import KINDS, WorkKind
from app.domain.leases import ALONE_AFTER_DEATHS, ORPHAN_SECONDS, Lease
from app.telemetry.metrics import WORK_DEAD, WORK_FENCED


class Leases:
    """The statements of one kind of work, run on the caller's connection and so in the caller's transaction."""

    def __init__(self, kind: WorkKind, owner: str, lease_seconds: float) -> None:
        self._kind = kind
        self._owner = owner
        self._seconds = lease_seconds

    def claim(self, connection: Connection, limit: int, key: str | None = None) -> Sequence[RowMapping]:
        """Up to `limit` due rows (or the one with `key`), now leased to this owner; whole rows are returned.

        A suspect, with which workers died before, comes alone.
        """
        kind = self._kind
        statement = f"""
            WITH due AS MATERIALIZED (
                SELECT w.{kind.key}, w.attempts - w.excused >= {ALONE_AFTER_DEATHS} AS suspect FROM {kind.table} w
                WHERE w.state IN ({kind.owed_sql}) AND w.run_at <= now()
                  AND (w.lease_until IS NULL OR w.lease_until <= now())
                  AND {f"w.{kind.key} = :key" if key is not None else "true"} AND {kind.guard}
                ORDER BY {kind.order} LIMIT :limit FOR UPDATE OF w SKIP LOCKED),
            taken AS (
                (SELECT {kind.key} FROM due WHERE suspect LIMIT 1)
                UNION ALL SELECT {kind.key} FROM due WHERE NOT EXISTS (SELECT 1 FROM due WHERE suspect))
            UPDATE {kind.table} w SET state = '{kind.claimed}', attempts = w.attempts + 1, lease_owner = :owner,
                   lease_until = now() + make_interval(secs => :seconds) {kind.on_claim}
            FROM taken WHERE w.{kind.key} = taken.{kind.key}
            RETURNING w.*"""  # noqa: S608
        parameters = {"owner": self._owner, "seconds": self._seconds, "limit": limit, "key": key}
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

    def release(self, connection: Connection, leases: Sequence[Lease]) -> set[str]:
        """Give rows back untouched: they are due now."""
        return self._end(connection, leases, f"state = '{self._kind.waiting}', excused = w.excused + 1", {})

    def _end(
        self, connection: Connection, leases: Sequence[Lease], changes: str, parameters: Mapping[str, Any]
    ) -> set[str]:
        if not leases:
            return set()
        kind = self._kind
        statement = f"""
            UPDATE {kind.table} w SET lease_owner = NULL, lease_until = NULL, {changes}
            FROM unnest(CAST(:keys AS text[]), CAST(:owners AS text[]), CAST(:attempts AS integer[]))
                 AS held (key, owner, attempts)
            WHERE w.{kind.key}::text = held.key AND w.{kind.key} = CAST(held.key AS {kind.key_type})
              AND w.state = '{kind.claimed}' AND w.lease_owner = held.owner AND w.attempts = held.attempts
            RETURNING w.{kind.key}::text"""  # noqa: S608
        ours = set(connection.execute(text(statement), {**_columns(leases), **parameters}).scalars())
        WORK_FENCED.labels(kind.name).inc(len(leases) - len(ours))
        return ours

    def held(self, connection: Connection, leases: Sequence[Lease]) -> set[str]:
        """The keys that these claims hold; waits for a claim whose transaction is still under way."""
        return self._look(connection, leases, "w.lease_owner = held.owner", {})

    def ended(self, connection: Connection, leases: Sequence[Lease], state: str) -> set[str]:
        """The keys that these very claims have brought into this last state."""
        return self._look(connection, leases, "w.state = :state AND w.lease_owner IS NULL", {"state": state})

    def _look(
        self, connection: Connection, leases: Sequence[Lease], condition: str, parameters: Mapping[str, Any]
    ) -> set[str]:
        kind = self._kind
        statement = f"""
            SELECT w.{kind.key}::text FROM {kind.table} w
            JOIN unnest(CAST(:keys AS text[]), CAST(:owners AS text[]), CAST(:attempts AS integer[]))
                 AS held (key, owner, attempts) ON w.{kind.key} = CAST(held.key AS {kind.key_type})
            WHERE w.attempts = held.attempts AND {condition} FOR UPDATE OF w"""  # noqa: S608
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
    for kind in KINDS
)
_GONE = f"""
    SELECT lease_owner FROM ({_HOLDERS}) held
    WHERE pg_try_advisory_xact_lock(hashtextextended(lease_owner, 0))"""  # noqa: S608


def end_leases_of_the_dead(connection: Connection) -> dict[str, int]:
    """End at once every lease whose owner's process is gone: its advisory lock can be had. Rows freed, by kind."""
    owners = list(connection.execute(text(_GONE)).scalars())
    return {kind.name: _end_leases(connection, kind, owners) for kind in KINDS} if owners else {}


def _end_leases(connection: Connection, kind: WorkKind, owners: list[str]) -> int:
    statement = f"""
        UPDATE {kind.table} SET lease_until = now()
        WHERE lease_owner = ANY(:owners) AND lease_until > now()"""  # noqa: S608
    return connection.execute(text(statement), {"owners": owners}).rowcount


def is_worn_out(row: RowMapping, max_deaths: int) -> bool:
    """Whether so many workers died with this row that it must not be tried again (the present claim counts)."""
    return bool(row["attempts"] - row["excused"] > max_deaths)


def hurry(connection: Connection, kind: WorkKind, key: str) -> bool:
    """Make an owed row due now, unless a worker has it in hand; whether it did."""
    free = "(w.lease_until IS NULL OR w.lease_until <= now())"
    return _change(connection, kind, key, "run_at = now(), outage = false", f"w.state IN ({kind.owed_sql}) AND {free}")


def revive(connection: Connection, kind: WorkKind, key: str) -> bool:
    """Give a dead row as many lives as a new one has; its attempts go on counting, for they are what fences."""
    changes = "finished_at = NULL, run_at = now(), excused = w.attempts, failures = 0, outage = false"
    return _change(connection, kind, key, f"state = '{kind.waiting}', {changes}", "w.state = 'dead'")


def discard(connection: Connection, kind: WorkKind, key: str) -> bool:
    """Put a dead row away for good; whether it was dead."""
    return _change(connection, kind, key, "state = 'discarded', finished_at = now()", "w.state = 'dead'")


def _change(connection: Connection, kind: WorkKind, key: str, changes: str, condition: str) -> bool:
    statement = f"""
        UPDATE {kind.table} w SET {changes} WHERE w.{kind.key} = CAST(:key AS {kind.key_type}) AND {condition}"""  # noqa: S608
    return bool(connection.execute(text(statement), {"key": key}).rowcount)

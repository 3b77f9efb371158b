"""The two outboxes: memories that SomaBrain has not confirmed, records that Kafka has not acknowledged."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.claims import Claims
from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.presence import Holder
from app.adapters.sql.rows import memory_of_row, owe_records
from app.adapters.sql.work_kinds import MEMORIES, RECORDS
from app.domain.leases import MAX_ATTEMPTS, Lease
from app.domain.memory import Remembered, WalRecord, wal_write
from app.domain.ports import WAKE_LIMIT, OwedMemory, OwedRecord, Sent


class Outbox(Claims):
    """What both outboxes share: every way a claim can end."""

    worn_out = ("dead", f"a worker died {MAX_ATTEMPTS} times while delivering it")

    def _claim_in_order(self, limit: int, keys: Sequence[str] | None = None) -> list[RowMapping]:
        # An UPDATE returns its rows in no order, and those of one transaction have one time.
        return sorted(self._claim(limit, keys), key=lambda row: (row["created_at"], row[self._kind.key]))

    def postpone(self, owed: Sequence[Any], seconds: float, reason: str, outage: bool) -> None:
        """Give these back; they are due again after `seconds`, or when the outage ends."""
        leases = _leases(owed)
        self._end(leases, lambda connection: self._leases.postpone(connection, leases, seconds, reason, outage))

    def release(self, owed: Sequence[Any]) -> None:
        """Give these back, due now."""
        leases = _leases(owed)
        self._end(leases, lambda connection: self._leases.release(connection, leases))

    def bury(self, owed: Any, reason: str) -> None:
        """This one is wrong and will be wrong again; a person can see why."""
        self._end([owed.lease], lambda connection: self._leases.settle(connection, [owed.lease], "dead", reason))

    def survived(self, owed: Sequence[Any]) -> None:
        """These claims could not be ended and their worker lives; the heartbeat says so."""
        self._live_on(_leases(owed))

    def waits_for_peer(self) -> bool:
        """Whether something is held back because the peer was away."""
        statement = f"SELECT EXISTS (SELECT 1 FROM {self._kind.table} WHERE state = 'pending' AND outage)"  # noqa: S608
        with transaction(self._engine) as connection:
            return bool(connection.execute(text(statement)).scalar_one())

    def wake(self, limit: int = WAKE_LIMIT) -> int:
        """Make due what was held back because the peer was away, the oldest first; how many rows that were."""
        key, table = self._kind.key, self._kind.table
        statement = f"""
            UPDATE {table} SET run_at = now(), outage = false
            WHERE {key} IN (SELECT {key} FROM {table} WHERE state = 'pending' AND outage AND lease_owner IS NULL
                            ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)"""  # noqa: S608
        with transaction(self._engine) as connection:
            return connection.execute(text(statement), {"limit": limit}).rowcount


def _leases(owed: Sequence[Any]) -> list[Lease]:
    return [item.lease for item in owed]


class SqlMemoryOutbox(Outbox):
    """`MemoryOutbox` on Postgres; a synced memory owes its record to `wal_topic` in the same transaction."""

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float, wal_topic: str) -> None:
        super().__init__(engine, MEMORIES, presence, lease_seconds)
        self._wal_topic = wal_topic

    def claim_due(self, limit: int) -> list[OwedMemory]:
        """Due memories, oldest first."""
        return self._owed(self._claim_in_order(limit))

    def claim_these(self, event_ids: Sequence[str]) -> list[OwedMemory]:
        """Those of these memories that are due, oldest first."""
        return self._owed(self._claim_in_order(len(event_ids), event_ids))

    def _owed(self, rows: list[RowMapping]) -> list[OwedMemory]:
        return [OwedMemory(self._leases.lease_of(row), memory_of_row(row), row["op"] == "forget") for row in rows]

    def synced(self, remembered: Sequence[tuple[OwedMemory, Remembered]]) -> list[str]:
        """Settle and owe the records, in one transaction."""
        kept = resolved(lambda again: self._synced(remembered, again))
        self.survived([owed for owed, _ in remembered if owed.lease.key not in kept])
        return kept

    def _synced(self, remembered: Sequence[tuple[OwedMemory, Remembered]], again: bool) -> list[str]:
        leases = [owed.lease for owed, _ in remembered]
        with transaction(self._engine) as connection:
            earlier = self._leases.ended(connection, leases, "synced") if again else set()
            ours = earlier | self._leases.settle(connection, leases, "synced")
            now = datetime.now(UTC)
            kept = [(owed.memory, receipt) for owed, receipt in remembered if owed.lease.key in ours]
            owe_records(connection, [wal_write(memory, receipt, self._wal_topic, now) for memory, receipt in kept])
            if lost := [lease.key for lease in leases if lease.key not in ours]:
                connection.execute(_FORGET_AGAIN, {"lost": lost})
        return [memory.event_id for memory, _ in kept]

    def forgotten(self, owed: OwedMemory) -> bool:
        """Settle; the record was owed with the wish to forget."""
        ours: set[str] = set()
        self._end([owed.lease], lambda connection: self._forgotten(connection, owed.lease, ours))
        return bool(ours)

    def _forgotten(self, connection: Connection, lease: Lease, ours: set[str]) -> set[str]:
        ours.update(self._leases.settle(connection, [lease], "synced"))
        return ours


# What was remembered under a lost claim may have reached SomaBrain after the forgetting did.
_FORGET_AGAIN = text("""
    UPDATE memory_write_outbox SET state = 'pending', finished_at = NULL, run_at = now()
    WHERE event_id = ANY(CAST(:lost AS text[])) AND op = 'forget' AND state = 'synced'
""")


class SqlMessageOutbox(Outbox):
    """`MessageOutbox` on Postgres; a sent record remembers where Kafka put it, which is how lag is measured."""

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float) -> None:
        super().__init__(engine, RECORDS, presence, lease_seconds)

    def claim_due(self, limit: int) -> list[OwedRecord]:
        """Due records, oldest first."""
        return [OwedRecord(self._leases.lease_of(row), _record(row)) for row in self._claim_in_order(limit)]

    def sent(self, acknowledged: Sequence[tuple[OwedRecord, Sent]]) -> None:
        """Settle what Kafka acknowledged and note where it lies."""
        leases = [owed.lease for owed, _ in acknowledged]
        self._end(leases, lambda connection: self._sent(connection, acknowledged))

    def _sent(self, connection: Connection, acknowledged: Sequence[tuple[OwedRecord, Sent]]) -> set[str]:
        ours = self._leases.settle(connection, [owed.lease for owed, _ in acknowledged], "sent")
        places = [(int(owed.lease.key), place) for owed, place in acknowledged if owed.lease.key in ours]
        connection.execute(
            _NOTE_PLACES,
            {
                "ids": [key for key, _ in places],
                "partitions": [place.partition for _, place in places],
                "offsets": [place.offset for _, place in places],
            },
        )
        return ours


_NOTE_PLACES = text("""
    UPDATE message_outbox o SET sent_partition = place.partition, sent_offset = place.record_offset
    FROM unnest(CAST(:ids AS bigint[]), CAST(:partitions AS integer[]), CAST(:offsets AS bigint[]))
         AS place (id, partition, record_offset)
    WHERE o.id = place.id AND o.state = 'sent'
""")


def _record(row: RowMapping) -> WalRecord:
    return WalRecord(
        topic=row["topic"],
        partition_key=row["partition_key"],
        dedupe_key=row["dedupe_key"],
        payload=row["payload"],
        headers=row["headers"],
        tenant=row["tenant"],
        session_id=row["session_id"],
    )

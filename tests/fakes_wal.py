"""`memory.wal` and its replica in memory: a log that writers append to and slots read, and the copy that is browsed."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

from app.domain.errors import LeaseLost, Rejected, WalUnavailable
from app.domain.log import RawRecord, WalBatch, WalPartition, WalPlace
from app.domain.memory import WalRecord
from app.domain.ports import Sent
from app.domain.wal import Poison, ReplicaRow, dead_letter, settle_versions
from tests.fakes_parts import FakeClock

LONGEST_RECORD = 1_048_588


@dataclass
class InMemoryWal:
    """Topics of partitions of records. Set `down` to meet Kafka's outage."""

    clock: FakeClock = field(default_factory=FakeClock)
    partitions: int = 3
    topics: set[str] = field(default_factory=lambda: {"memory.wal", "memory.wal.dlq"})
    down: bool = False
    log: dict[WalPartition, list[RawRecord]] = field(default_factory=lambda: defaultdict(list))

    def append(self, topic: str, key: bytes, value: bytes) -> Sent:
        """Put raw bytes at the end of the key's partition, as a stranger could."""
        where = WalPartition(topic, crc32(key) % self.partitions)
        lying = self.log[where]
        lying.append(RawRecord(where, len(lying), value, int(self.clock.now().timestamp() * 1000)))
        return Sent(where.number, len(lying) - 1)

    # --- WalWriter

    def publish(self, records: Sequence[WalRecord]) -> list[Sent | Exception]:
        return [self._publish(record) for record in records]

    def _publish(self, record: WalRecord) -> Sent | Exception:
        value = json.dumps(record.payload).encode()
        if self.down:
            return WalUnavailable("Kafka did not acknowledge: down")
        if record.topic not in self.topics:
            return WalUnavailable("the topic does not exist in Kafka; create it")
        if len(value) > LONGEST_RECORD:
            return Rejected("Kafka will not take this record: MessageSizeTooLargeError")
        return self.append(record.topic, record.partition_key.encode(), value)

    def slot(self, take: Callable[[WalPartition], WalPlace], topic: str = "memory.wal") -> "InMemoryWalReader":
        """A reader of the whole topic; its places come from `take`."""
        return InMemoryWalReader(self, take, topic)


@dataclass
class InMemoryWalReader:
    """`WalReader`: one slot that has every partition. An empty poll takes its time on the fake clock."""

    wal: InMemoryWal
    take: Callable[[WalPartition], WalPlace]
    topic: str
    committed: dict[WalPartition, int] = field(default_factory=dict)
    rewinds: int = 0
    _places: dict[WalPartition, WalPlace] = field(default_factory=dict)

    def poll(self, seconds: float, limit: int) -> list[WalBatch]:
        if self.wal.down:
            self._places.clear()
            raise WalUnavailable("memory.wal cannot be read: down")
        batches = []
        for number in range(self.wal.partitions):
            batch = self._batch(WalPartition(self.topic, number), limit)
            if batch is not None:
                batches.append(batch)
        if not batches:
            self.wal.clock.advance(seconds)
        return batches

    def _batch(self, partition: WalPartition, limit: int) -> WalBatch | None:
        place = self._places.get(partition) or self.take(partition)
        records = tuple(self.wal.log[partition][place.offset : place.offset + limit])
        end = place.offset + len(records)
        self._places[partition] = WalPlace(end, place.generation)
        return WalBatch(partition, place.offset, end, records, place.generation) if records else None

    def commit(self, batch: WalBatch) -> None:
        self.committed[batch.partition] = batch.end

    def rewind(self) -> None:
        self.rewinds += 1
        self._places.clear()

    def close(self) -> None:
        self._places.clear()


@dataclass
class InMemoryReplica:
    """`Replica`: rows by event id, dead letters, offsets, and the letters that are owed to Kafka."""

    clock: FakeClock = field(default_factory=FakeClock)
    rows: dict[str, ReplicaRow] = field(default_factory=dict)
    places: dict[WalPartition, WalPlace] = field(default_factory=dict)
    dead: dict[tuple[WalPartition, int], Poison] = field(default_factory=dict)
    owed: dict[str, WalRecord] = field(default_factory=dict)

    def take(self, partition: WalPartition) -> WalPlace:
        known = self.places.get(partition, WalPlace(0, 0))
        self.places[partition] = WalPlace(known.offset, known.generation + 1)
        return self.places[partition]

    def store(self, batch: WalBatch, good: Sequence[ReplicaRow], bad: Sequence[Poison]) -> list[ReplicaRow]:
        if self.places.get(batch.partition) != WalPlace(batch.start, batch.generation):
            raise LeaseLost(f"another slot has partition {batch.partition.number} now, or was faster")
        self.places[batch.partition] = WalPlace(batch.end, batch.generation)
        stored = {key: (row.version, row.body_digest) for key, row in self.rows.items()}
        winners, conflicts = settle_versions(good, stored)
        for row in winners:
            first = self.rows.get(row.event_id, row)
            self.rows[row.event_id] = replace(row, wal_timestamp=first.wal_timestamp)
        raw = {record.offset: record.value for record in batch.records}
        reason = "the same event_id and version came with another body"
        poison = [*bad, *(Poison(row.offset, raw[row.offset], "conflict", reason) for row in conflicts)]
        for item in poison:
            self._bury(batch.partition, item)
        return winners

    def _bury(self, partition: WalPartition, item: Poison) -> None:
        self.dead.setdefault((partition, item.offset), item)
        key = f"{partition.topic}:{partition.number}:{item.offset}"
        letter = dead_letter(item, partition.topic, self.clock.now().timestamp())
        record = WalRecord(f"{partition.topic}.dlq", f"{partition.number}:{item.offset}", key, letter, {}, "", None)
        self.owed.setdefault(key, record)

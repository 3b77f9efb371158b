"""What every `Replica` promises: rows, dead letters and offset move together, repeats change nothing, poison passes."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.replica import SqlReplica
from app.domain.errors import LeaseLost
from app.domain.log import WalBatch, WalPartition
from app.domain.ports import Replica
from app.domain.wal import ReplicaRow, parse_all
from tests.builders import NOW, a_batch, an_id, wal_bytes
from tests.fakes import InMemoryReplica


class ReplicaRig(ABC):
    """A replica and a look behind it."""

    replica: Replica

    @abstractmethod
    def row(self, event_id: str) -> dict[str, Any] | None: ...

    @abstractmethod
    def timestamp(self, event_id: str) -> float: ...

    @abstractmethod
    def dead(self, partition: WalPartition) -> list[tuple[int, str, bytes]]: ...

    @abstractmethod
    def owed(self, partition: WalPartition) -> list[dict[str, Any]]: ...


class MemoryReplicaRig(ReplicaRig):
    def __init__(self) -> None:
        self.fake = InMemoryReplica()
        self.replica = self.fake

    def row(self, event_id: str) -> dict[str, Any] | None:
        row = self.fake.rows.get(event_id)
        if row is None:
            return None
        payload = None if row.deleted else dict(row.payload)
        return {"version": row.version, "deleted": row.deleted, "payload": payload, "tenant": row.tenant}

    def timestamp(self, event_id: str) -> float:
        return self.fake.rows[event_id].wal_timestamp

    def dead(self, partition: WalPartition) -> list[tuple[int, str, bytes]]:
        found = [(key, item) for key, item in self.fake.dead.items() if key[0] == partition]
        return sorted((offset, item.kind, item.raw) for (_, offset), item in found)

    def owed(self, partition: WalPartition) -> list[dict[str, Any]]:
        return [dict(r.payload) for r in self.fake.owed.values() if r.topic == f"{partition.topic}.dlq"]


class SqlReplicaRig(ReplicaRig):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.replica = SqlReplica(engine)

    def row(self, event_id: str) -> dict[str, Any] | None:
        sql = """SELECT version, deleted_at IS NOT NULL AS deleted, payload, tenant
                 FROM memory_replica WHERE event_id = :id"""
        rows = self._all(sql, id=event_id)
        return dict(rows[0]) if rows else None

    def timestamp(self, event_id: str) -> float:
        sql = "SELECT wal_timestamp FROM memory_replica WHERE event_id = :id"
        return float(self._all(sql, id=event_id)[0]["wal_timestamp"])

    def dead(self, partition: WalPartition) -> list[tuple[int, str, bytes]]:
        sql = """SELECT source_offset, error_kind, raw FROM dlq_messages
                 WHERE topic = :topic AND source_partition = :number ORDER BY source_offset"""
        rows = self._all(sql, topic=f"{partition.topic}.dlq", number=partition.number)
        return [(row["source_offset"], row["error_kind"], bytes(row["raw"])) for row in rows]

    def owed(self, partition: WalPartition) -> list[dict[str, Any]]:
        sql = "SELECT payload FROM message_outbox WHERE topic = :topic AND state = 'pending' ORDER BY id"
        return [row["payload"] for row in self._all(sql, topic=f"{partition.topic}.dlq")]

    def _all(self, statement: str, **values: Any) -> Any:
        with self._engine.begin() as connection:
            return connection.execute(text(statement), values).mappings().all()


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> ReplicaRig:
    return MemoryReplicaRig() if request.param == "memory" else SqlReplicaRig(request.getfixturevalue("engine"))


@pytest.fixture
def partition() -> WalPartition:
    return WalPartition(an_id("wal-"), 1)


def store(rig: ReplicaRig, batch: WalBatch) -> list[ReplicaRow]:
    """Store it as the slot that has just taken the partition."""
    taken = replace(batch, generation=rig.replica.take(batch.partition).generation)
    return store_as_it_is(rig, taken)


def store_as_it_is(rig: ReplicaRig, batch: WalBatch) -> list[ReplicaRow]:
    good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
    return rig.replica.store(batch, good, bad)


def test_a_batch_moves_rows_and_offset(rig: ReplicaRig, partition: WalPartition) -> None:
    one, two = an_id(), an_id()
    assert rig.replica.take(partition).offset == 0

    changed = store(rig, a_batch(partition, 0, wal_bytes(one), wal_bytes(two, tenant="t2")))

    assert [row.event_id for row in changed] == [one, two]
    assert rig.row(one) == {"version": 1, "deleted": False, "payload": {"id": one, "content": "hello", "metadata": {}},
                            "tenant": "t1"}  # fmt: skip
    assert (rig.row(two) or {})["tenant"] == "t2"
    assert rig.replica.take(partition).offset == 2


def test_partitions_have_places_of_their_own(rig: ReplicaRig, partition: WalPartition) -> None:
    store(rig, a_batch(partition, 0, wal_bytes()))

    assert rig.replica.take(replace(partition, number=2)).offset == 0


def test_a_repeated_record_changes_nothing(rig: ReplicaRig, partition: WalPartition) -> None:
    event_id = an_id()
    value = wal_bytes(event_id)
    store(rig, a_batch(partition, 0, value))

    assert store(rig, a_batch(partition, 1, value, value)) == []

    assert (rig.row(event_id) or {})["version"] == 1
    assert rig.dead(partition) == []
    assert rig.replica.take(partition).offset == 3


def test_the_newest_version_stays_in_whatever_order_they_come(rig: ReplicaRig, partition: WalPartition) -> None:
    event_id = an_id()
    new, old = wal_bytes(event_id, version=3, payload={"n": 3}), wal_bytes(event_id, version=2, payload={"n": 2})

    store(rig, a_batch(partition, 0, wal_bytes(event_id), new))
    assert store(rig, a_batch(partition, 2, old)) == []

    row = rig.row(event_id)
    assert row is not None
    assert (row["version"], row["payload"]) == (3, {"n": 3})
    assert rig.dead(partition) == []


def test_a_deleted_memory_leaves_a_tombstone_without_its_payload(rig: ReplicaRig, partition: WalPartition) -> None:
    event_id = an_id()
    store(rig, a_batch(partition, 0, wal_bytes(event_id)))

    store(rig, a_batch(partition, 1, wal_bytes(event_id, type="memory.delete", version=2, payload=None)))
    store(rig, a_batch(partition, 2, wal_bytes(event_id)))

    assert rig.row(event_id) == {"version": 2, "deleted": True, "payload": None, "tenant": "t1"}


def test_a_memory_keeps_its_first_place_in_time_however_its_versions_are_batched(
    rig: ReplicaRig, partition: WalPartition
) -> None:
    apart, together = an_id(), an_id()
    changes = {
        event_id: [wal_bytes(event_id, version=version, timestamp=1000.0 + version) for version in (1, 2, 3)]
        for event_id in (apart, together)
    }

    for offset, value in enumerate(changes[apart]):
        store(rig, a_batch(partition, offset, value))
    store(rig, a_batch(partition, 3, *changes[together]))

    assert (rig.timestamp(apart), rig.timestamp(together)) == (1001.0, 1001.0)
    assert (rig.row(together) or {})["version"] == 3


def test_a_newer_version_decides_whose_it_is(rig: ReplicaRig, partition: WalPartition) -> None:
    event_id = an_id()
    store(rig, a_batch(partition, 0, wal_bytes(event_id, tenant="t2")))

    store(rig, a_batch(partition, 1, wal_bytes(event_id, tenant="t1", version=2)))

    assert (rig.row(event_id) or {})["tenant"] == "t1"


def test_the_same_version_with_another_body_is_a_dead_letter(rig: ReplicaRig, partition: WalPartition) -> None:
    event_id = an_id()
    other = wal_bytes(event_id, payload={"id": event_id, "content": "something else"})
    store(rig, a_batch(partition, 0, wal_bytes(event_id)))

    store(rig, a_batch(partition, 1, other, wal_bytes()))

    assert [(offset, kind) for offset, kind, _ in rig.dead(partition)] == [(1, "conflict")]
    assert (rig.row(event_id) or {})["payload"]["content"] == "hello"
    assert rig.replica.take(partition).offset == 3


def test_two_bodies_within_one_batch_conflict_too(rig: ReplicaRig, partition: WalPartition) -> None:
    event_id = an_id()

    store(rig, a_batch(partition, 0, wal_bytes(event_id), wal_bytes(event_id, role="tool")))

    assert [kind for _, kind, _ in rig.dead(partition)] == ["conflict"]


POISON = {
    "not JSON": (b"{", "bad_json"),
    "not UTF-8": (b"\xff\xfe", "bad_json"),
    "empty": (b"", "bad_json"),
    "no id": (b'{"type": "memory.write", "tenant": "t1", "timestamp": 1}', "bad_schema"),
    "NUL inside": (wal_bytes("x", payload={"content": "a\x00b"}), "bad_text"),
    "half a surrogate": (wal_bytes("x", payload={"content": "\ud800"}), "bad_text"),
    "unknown schema": (wal_bytes("x", schema=99), "unknown_schema"),
    "too big": (wal_bytes("x", payload={"content": "x" * 1_048_576}), "too_big"),
    "a timestamp beyond numbers": (wal_bytes("x", timestamp=10**400), "bad_schema"),
    "a coordinate beyond numbers": (wal_bytes("x", result={"coord": [10**400]}), "bad_schema"),
    "a name too long for an index": (wal_bytes("x", universe="".join(map(chr, range(256, 5256)))), "bad_schema"),
}


@pytest.mark.parametrize(("value", "kind"), POISON.values(), ids=POISON.keys())
def test_poison_goes_to_the_dead_letters_and_the_partition_moves_on(
    rig: ReplicaRig, partition: WalPartition, value: bytes, kind: str
) -> None:
    good = an_id()

    store(rig, a_batch(partition, 0, value, wal_bytes(good)))

    assert rig.dead(partition) == [(0, kind, value)]
    assert rig.row(good) is not None
    assert rig.replica.take(partition).offset == 2
    (letter,) = rig.owed(partition)
    assert (letter["source_topic"], letter["error_type"]) == (partition.topic, kind)
    assert letter["error_message"]


def test_a_slot_that_was_overtaken_writes_nothing(rig: ReplicaRig, partition: WalPartition) -> None:
    mine, late = an_id(), an_id()
    store(rig, a_batch(partition, 0, wal_bytes(mine)))

    with pytest.raises(LeaseLost):
        store(rig, a_batch(partition, 0, wal_bytes(late), b"poison"))
    with pytest.raises(LeaseLost):
        store(rig, a_batch(partition, 5, wal_bytes(late)))

    assert rig.row(late) is None
    assert rig.dead(partition) == []
    assert rig.owed(partition) == []
    assert rig.replica.take(partition).offset == 1


def test_a_slot_whose_partition_was_taken_writes_nothing_though_nobody_was_faster(
    rig: ReplicaRig, partition: WalPartition
) -> None:
    event_id = an_id()
    zombie = rig.replica.take(partition)
    heir = rig.replica.take(partition)
    assert (heir.offset, heir.generation) == (zombie.offset, zombie.generation + 1)

    with pytest.raises(LeaseLost):
        store_as_it_is(rig, a_batch(partition, 0, wal_bytes(event_id), b"poison", generation=zombie.generation))

    assert (rig.row(event_id), rig.dead(partition)) == (None, [])
    assert len(store_as_it_is(rig, a_batch(partition, 0, wal_bytes(event_id), generation=heir.generation))) == 1


def test_a_partition_that_was_never_taken_takes_nothing(rig: ReplicaRig, partition: WalPartition) -> None:
    with pytest.raises(LeaseLost):
        store_as_it_is(rig, a_batch(partition, 0, wal_bytes()))


def test_a_partition_nobody_has_begun_is_begun_at_its_beginning(rig: ReplicaRig, partition: WalPartition) -> None:
    with pytest.raises(LeaseLost):
        store(rig, a_batch(partition, 7, wal_bytes()))

    assert rig.replica.take(partition).offset == 0


def test_a_log_that_lost_its_beginning_is_taken_up_where_it_begins(rig: ReplicaRig, partition: WalPartition) -> None:
    batch = a_batch(partition, 0, wal_bytes())
    moved = replace(batch, end=41, records=(replace(batch.records[0], offset=40),))

    assert len(store(rig, moved)) == 1

    assert rig.replica.take(partition).offset == 41

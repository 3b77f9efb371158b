"""What rebuilding promises of its store: one at a time, resumable, equal or told why, nothing doubled."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine
from app.adapters.sql.rebuild_jobs import SqlRebuildDesk
from app.adapters.sql.rebuilds import SqlRebuilds
from app.adapters.sql.rebuilt_memories import SqlRebuiltMemories
from app.adapters.sql.replica import SqlReplica
from app.domain.audit import Actor, AuditEntry
from app.domain.errors import Conflict, LeaseLost, NotFound
from app.domain.log import WalBatch, WalPartition
from app.domain.ports import Replica
from app.domain.rebuild import (
    Comparison,
    Rebuild,
    RebuildDesk,
    RebuildKind,
    RebuildState,
    RebuildStore,
    RebuiltMemories,
    Rest,
)
from app.domain.wal import ReplicaRow, parse_all
from devstack.stack import Stack
from tests.builders import NOW, a_batch, an_id, wal_bytes
from tests.conftest import PATIENT
from tests.fakes import InMemoryReplica
from tests.fakes_rebuild import InMemoryRebuilds
from tests.own_database import own_database

ENTRY = AuditEntry(Actor("tester", "r-1"), "rebuild.start", "replica")


class Rig(ABC):
    """A replica that is replicated into, and what rebuilds it; `log` is what the replica has read."""

    topic = "memory.wal"
    replica: Replica
    desk: RebuildDesk
    store: RebuildStore
    memories: RebuiltMemories

    def __init__(self) -> None:
        self.log: dict[int, list[bytes]] = {}

    def write(self, *values: bytes, number: int = 0) -> None:
        """More of the log, replicated."""
        known = self.log.setdefault(number, [])
        partition = WalPartition(self.topic, number)
        generation = self.replica.take(partition).generation
        self._store(a_batch(partition, len(known), *values, generation=generation))
        known += values

    def _store(self, batch: WalBatch) -> None:
        good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
        self.replica.store(batch, good, bad)

    def begun(self, kind: RebuildKind = RebuildKind.REPLICA) -> Rebuild:
        rebuild, started = self.desk.start(kind, ENTRY)
        assert started
        self.store.begin(rebuild.id)
        found = self.desk.find(rebuild.id)
        assert found is not None
        return found

    def read(self, rebuild: Rebuild, number: int = 0, start: int = 0, end: int | None = None) -> None:
        values = self.log[number][start:end]
        batch = a_batch(WalPartition(self.topic, number), start, *values, generation=0)
        good, _ = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
        self.store.store(rebuild, batch, good, sum(map(len, self.log.values())))

    def switch(self, rebuild: Rebuild, rest: Rest = lambda _places, _until: ()) -> Comparison | None:
        return self.store.switch(rebuild, rest)

    def rebuilt(self, kind: RebuildKind = RebuildKind.REPLICA, order: Sequence[int] = ()) -> Comparison:
        rebuild = self.begun(kind)
        for number in order or self.log:
            self.read(rebuild, number)
        self.store.settle()
        comparison = self.switch(rebuild)
        assert comparison is not None
        return comparison

    @abstractmethod
    def rows(self) -> dict[str, tuple[int, bool, object]]:
        """By event id: version, whether it is forgotten, what it says."""

    @abstractmethod
    def tamper(self, deed: str, event_id: str) -> None:
        """Make a row missing, altered or renamed behind everybody's back."""

    @abstractmethod
    def letters(self) -> int:
        """How many dead letters there are."""


class MemoryRig(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.fake = InMemoryReplica()
        self.replica = self.fake
        self.desk = self.store = self.memories = InMemoryRebuilds(self.fake)

    def rows(self) -> dict[str, tuple[int, bool, object]]:
        return {
            key: (row.version, row.deleted, None if row.deleted else row.payload) for key, row in self.fake.rows.items()
        }

    def tamper(self, deed: str, event_id: str) -> None:
        row = self.fake.rows.pop(event_id)
        if deed == "altered":
            self.fake.rows[event_id] = replace(row, payload={"content": "forged"})
        elif deed == "renamed":
            self.fake.rows["nobody-wrote-this"] = replace(row, event_id="nobody-wrote-this")

    def letters(self) -> int:
        return len(self.fake.dead)


_TAMPER = {
    "missing": "DELETE FROM memory_replica WHERE event_id = :id",
    "altered": 'UPDATE memory_replica SET payload = \'{"content": "forged"}\' WHERE event_id = :id',
    "renamed": "UPDATE memory_replica SET event_id = 'nobody-wrote-this' WHERE event_id = :id",
}


class SqlRig(Rig):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        for table in ("memory_replica", "replicator_offsets", "dlq_messages", "memory_rebuilds CASCADE"):
            self.sql(f"TRUNCATE {table}")
        self.sql("DROP TABLE IF EXISTS memory_replica_rebuilt")
        self.replica, self.desk = SqlReplica(engine), SqlRebuildDesk(engine)
        self.store, self.memories = SqlRebuilds(engine, engine, self.topic), SqlRebuiltMemories(engine)

    def rows(self) -> dict[str, tuple[int, bool, object]]:
        found = self.sql("SELECT event_id, version, deleted_at IS NOT NULL, payload FROM memory_replica")
        return {row[0]: (row[1], row[2], row[3]) for row in found}

    def tamper(self, deed: str, event_id: str) -> None:
        self.sql(_TAMPER[deed], id=event_id)

    def letters(self) -> int:
        return int(self.sql("SELECT count(*) FROM dlq_messages")[0][0])

    def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture(scope="module")
def own_engine(servers: Stack) -> Iterator[Engine]:
    with own_database(servers) as environment:
        made = create_engine(environment["POSTGRES_DSN"], 5, "test", PATIENT)
        yield made
        made.dispose()


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return MemoryRig() if request.param == "memory" else SqlRig(request.getfixturevalue("own_engine"))


def test_one_rebuild_at_a_time_and_a_second_request_is_told_of_the_first(rig: Rig) -> None:
    first, started = rig.desk.start(RebuildKind.BRAIN, ENTRY)

    assert (started, first.state) == (True, RebuildState.QUEUED)
    assert rig.desk.start(RebuildKind.REPLICA, ENTRY) == (first, False)
    assert rig.store.current() == first


def test_a_rebuild_of_what_is_right_changes_nothing_and_says_equal(rig: Rig) -> None:
    kept, gone = an_id(), an_id()
    rig.write(wal_bytes(kept), wal_bytes(gone), wal_bytes(kept, version=2, payload={"n": 2}))
    rig.write(wal_bytes(), number=2)
    rig.write(wal_bytes(gone, type="memory.delete", version=2, payload=None))
    before = rig.rows()

    comparison = rig.rebuilt()

    assert comparison.equal
    assert (comparison.old.rows, comparison.only_old, comparison.only_new, comparison.differing) == (3, 0, 0, 0)
    assert rig.rows() == before
    assert rig.store.current() is None


def test_a_rebuild_says_how_far_it_is_and_how_it_ended(rig: Rig) -> None:
    rig.write(wal_bytes(), wal_bytes(), b"poison")
    rebuild = rig.begun()
    rig.read(rebuild, end=2)

    assert rig.store.places(rebuild.id) == {0: 2}
    found = rig.desk.find(rebuild.id)
    assert found is not None
    assert (found.state, found.read, found.to_read, found.poison) == (RebuildState.READING, 2, 3, 0)

    rig.read(rebuild, start=2)
    comparison = rig.switch(rebuild)

    found = rig.desk.find(rebuild.id)
    assert found is not None
    assert (found.state, found.read, found.poison, found.comparison) == (RebuildState.COMPLETED, 3, 1, comparison)
    assert found.finished_at is not None


def test_what_began_goes_on_where_it_was(rig: Rig) -> None:
    rig.write(wal_bytes(), wal_bytes())
    rebuild = rig.begun()
    rig.read(rebuild, end=1)

    rig.store.begin(rebuild.id)

    assert rig.store.places(rebuild.id) == {0: 1}
    rig.read(rebuild, start=1)
    assert rig.switch(rebuild) is not None


def test_nothing_is_switched_before_the_new_table_stands_where_the_replica_stands(rig: Rig) -> None:
    rig.write(wal_bytes())
    rebuild = rig.begun()
    rig.read(rebuild)
    rig.write(wal_bytes(), number=1)

    assert rig.switch(rebuild) is None
    assert len(rig.rows()) == 2

    rig.read(rebuild, 1)
    comparison = rig.switch(rebuild)
    assert comparison is not None
    assert comparison.equal


def test_what_came_last_is_read_while_the_replica_stands_still(rig: Rig) -> None:
    rig.write(wal_bytes())
    rebuild = rig.begun()
    rig.read(rebuild)
    rig.write(wal_bytes(), wal_bytes())

    def rest(places: Mapping[int, int], until: Mapping[int, int]) -> list[tuple[WalBatch, list[ReplicaRow]]]:
        assert (places, until) == ({0: 1}, {0: 3})
        batch = a_batch(WalPartition(rig.topic, 0), 1, *rig.log[0][1:], generation=0)
        return [(batch, parse_all([(each.offset, each.value) for each in batch.records], NOW.timestamp())[0])]

    comparison = rig.switch(rebuild, rest)

    assert comparison is not None
    assert (comparison.equal, comparison.new.rows) == (True, 3)


def test_replication_goes_on_in_the_new_table(rig: Rig) -> None:
    event_id = an_id()
    rig.write(wal_bytes(event_id))
    rig.rebuilt()

    rig.write(wal_bytes(), wal_bytes(event_id, version=2, payload={"n": 2}))

    assert (len(rig.rows()), rig.rows()[event_id]) == (2, (2, False, {"n": 2}))
    assert rig.rebuilt().equal


@pytest.mark.parametrize(("deed", "counts"), [("missing", (0, 1, 0)), ("altered", (0, 0, 1)), ("renamed", (1, 1, 0))])
def test_a_planted_difference_is_counted_and_gone(rig: Rig, deed: str, counts: tuple[int, int, int]) -> None:
    victim = an_id()
    rig.write(wal_bytes(victim), wal_bytes(), wal_bytes())
    right = rig.rows()
    rig.tamper(deed, victim)

    comparison = rig.rebuilt()

    assert not comparison.equal
    assert (comparison.only_old, comparison.only_new, comparison.differing) == counts
    assert victim in comparison.examples
    assert rig.rows() == right
    assert rig.rebuilt().equal


def test_a_slice_that_was_overtaken_writes_nothing(rig: Rig) -> None:
    rig.write(wal_bytes(), wal_bytes())
    rebuild = rig.begun()
    rig.read(rebuild, end=1)

    with pytest.raises(LeaseLost):
        rig.read(rebuild, end=2)

    assert rig.store.places(rebuild.id) == {0: 1}


def test_a_cancelled_rebuild_leaves_the_replica_alone_and_makes_room(rig: Rig) -> None:
    rig.write(wal_bytes())
    before = rig.rows()
    rebuild = rig.begun()

    assert rig.desk.cancel(rebuild.id, ENTRY).state is RebuildState.CANCELLED

    for late in (lambda: rig.read(rebuild), lambda: rig.switch(rebuild)):
        with pytest.raises(LeaseLost):
            late()
    with pytest.raises(Conflict):
        rig.desk.cancel(rebuild.id, ENTRY)
    with pytest.raises(NotFound):
        rig.desk.cancel("nobody", ENTRY)
    assert rig.rows() == before
    assert rig.rebuilt().equal


def test_a_rebuild_that_cannot_be_done_says_why(rig: Rig) -> None:
    rebuild = rig.begun()

    rig.store.fail(rebuild, "the log is gone")

    found = rig.desk.find(rebuild.id)
    assert found is not None
    assert (found.state, found.error) == (RebuildState.FAILED, "the log is gone")


def test_poison_is_buried_once_and_what_was_judged_stays_judged(rig: Rig) -> None:
    event_id = an_id()
    rig.write(b"poison", wal_bytes(event_id, payload={"n": 1}), number=1)
    # The same version with another body, in a partition that a rebuild may read first: it was the later one.
    rig.write(wal_bytes(event_id, payload={"n": 2}), number=0)
    assert rig.letters() == 2

    comparison = rig.rebuilt(order=(0, 1))

    assert comparison.equal
    assert rig.rows()[event_id] == (1, False, {"n": 1})
    assert rig.letters() == 2


def brain_pages(rig: Rig, rebuild: Rebuild) -> Iterator[tuple[Rebuild, list[str]]]:
    last = False
    while not last:
        page = rig.memories.page(rebuild, 2)
        rebuild, last = rig.memories.passed(rebuild, page, len(page.memories), []), page.last
        yield rebuild, [memory.event_id for memory in page.memories]


def remembering(rig: Rig) -> Rebuild:
    assert rig.rebuilt(RebuildKind.BRAIN).equal
    found = rig.memories.current()
    assert found is not None
    assert found.state is RebuildState.REMEMBERING
    return found


def test_a_brain_gets_every_memory_that_is_not_forgotten_once_and_in_order(rig: Rig) -> None:
    ids = [an_id() for _ in range(5)]
    rig.write(*(wal_bytes(name) for name in ids), wal_bytes(ids[2], type="memory.delete", version=2, payload=None))

    rebuild = remembering(rig)
    assert rebuild.to_remember == 4
    pages = list(brain_pages(rig, rebuild))

    assert [name for _, names in pages for name in names] == [ids[0], ids[1], ids[3], ids[4]]
    rig.memories.complete(pages[-1][0])
    found = rig.desk.find(rebuild.id)
    assert found is not None
    assert (found.state, found.remembered, found.error) == (RebuildState.COMPLETED, 4, None)


def test_a_memory_of_the_log_has_its_key_and_place_and_the_same_key_every_time(rig: Rig) -> None:
    keyed, keyless = an_id(), an_id()
    rig.write(wal_bytes(keyed, payload={"content": "hi", "idempotency_key": "k-1"}), wal_bytes(keyless, tenant="t2"))
    rebuild = remembering(rig)

    first, second = rig.memories.page(rebuild, 5).memories

    assert (first.idempotency_key, first.payload["content"]) == ("k-1", "hi")
    assert (second.place.tenant, second.place.namespace, second.place.universe) == ("t2", "wm", "u-1")
    assert second.idempotency_key.startswith("t2/wm/s-1/user/2026-01-01T00:00:00Z/")


def test_what_is_forgotten_while_a_brain_is_rebuilt_is_known(rig: Rig) -> None:
    gone, early, kept = an_id(), an_id(), an_id()
    rig.write(wal_bytes(gone), wal_bytes(early), wal_bytes(kept))
    rig.write(wal_bytes(early, type="memory.delete", version=2, payload=None))
    rebuild = remembering(rig)
    page = rig.memories.page(rebuild, 5)
    assert rig.memories.forgotten_since(rebuild, page) == []

    rig.write(wal_bytes(gone, type="memory.delete", version=2, payload=None))

    assert [memory.event_id for memory in rig.memories.forgotten_since(rebuild, page)] == [gone]


def test_a_stretch_is_passed_once(rig: Rig) -> None:
    rig.write(wal_bytes(), wal_bytes())
    rebuild = remembering(rig)
    page = rig.memories.page(rebuild, 2)

    passed = rig.memories.passed(rebuild, page, 1, ["m-1: no", "m-2: no"])

    assert (passed.cursor, passed.remembered, passed.refused, passed.error) == (page.end, 1, 2, "m-1: no")
    with pytest.raises(LeaseLost):
        rig.memories.passed(rebuild, page, 2, [])
    rig.desk.cancel(rebuild.id, ENTRY)
    for late in (lambda: rig.memories.passed(passed, page, 2, []), lambda: rig.memories.complete(passed)):
        with pytest.raises(LeaseLost):
            late()


# --- of Postgres alone


@pytest.fixture
def sql(own_engine: Engine) -> SqlRig:
    return SqlRig(own_engine)


def _names(rig: SqlRig) -> list[tuple[Any, ...]]:
    return rig.sql("""
        SELECT 'index', indexname, indexdef FROM pg_indexes WHERE tablename = 'memory_replica'
        UNION ALL SELECT 'constraint', conname::text, pg_get_constraintdef(oid) FROM pg_constraint
                  WHERE conrelid = 'memory_replica'::regclass
        UNION ALL SELECT 'column', column_name::text, data_type || is_nullable || coalesce(column_default, '')
                         || is_identity || is_generated
                  FROM information_schema.columns WHERE table_name = 'memory_replica'
        UNION ALL SELECT 'sequence', pg_get_serial_sequence('memory_replica', 'id'), '' ORDER BY 1, 2""")


def test_the_table_has_its_names_again_after_every_rebuild(sql: SqlRig) -> None:
    sql.write(wal_bytes())
    before = _names(sql)

    for _ in range(3):
        sql.rebuilt()
        assert _names(sql) == before


def test_a_row_keeps_its_id_and_its_times_and_new_ones_come_after_it(sql: SqlRig) -> None:
    lost, gone = an_id(), an_id()
    sql.write(wal_bytes(), wal_bytes(lost), wal_bytes(gone), wal_bytes())
    sql.write(wal_bytes(gone, type="memory.delete", version=2, payload=None))
    query = "SELECT event_id, id, created_at, deleted_at FROM memory_replica ORDER BY id"
    before = sql.sql(query)
    sql.tamper("missing", lost)

    sql.rebuilt()
    sql.write(wal_bytes())

    after = sql.sql(query)
    assert [row for row in after if row[0] != lost][:3] == [row for row in before if row[0] != lost]
    assert len({row[1] for row in after}) == 5
    assert after[-1][1] == max(row[1] for row in after)


def test_who_reads_the_old_table_is_waited_for_and_nothing_is_lost(sql: SqlRig) -> None:
    sql.write(wal_bytes())
    rebuild = sql.begun()
    sql.read(rebuild)
    with sql.engine.begin() as reader:
        reader.execute(text("SELECT count(*) FROM memory_replica"))
        assert sql.switch(rebuild) is None

    assert sql.switch(rebuild) is not None


def test_every_deed_is_written_down(sql: SqlRig) -> None:
    sql.sql("TRUNCATE audit_events")
    rebuild = sql.begun()
    sql.desk.cancel(rebuild.id, AuditEntry(Actor("tester", "r-2"), "rebuild.cancel", rebuild.id))

    assert sql.sql("SELECT action, subject FROM audit_events ORDER BY id") == [
        ("rebuild.start", "replica"), ("rebuild.cancel", rebuild.id),
    ]  # fmt: skip

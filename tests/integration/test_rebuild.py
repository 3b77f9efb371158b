"""The replica rebuilt from a real log under load: records come meanwhile, its process is killed, and digests agree."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from sqlalchemy import Engine, text

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.history import KafkaWalHistory
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.sql.engine import create_engine
from app.adapters.sql.rebuild_jobs import SqlRebuildDesk
from app.domain.audit import Actor, AuditEntry
from app.domain.errors import WalUnavailable
from app.domain.rebuild import Rebuild, RebuildKind, RebuildState
from app.routing import dead_letter_topic
from app.settings import Settings, read
from devstack.stack import Stack
from tests.builders import a_record, a_wal_body, an_id
from tests.conftest import PATIENT, ROOT, eventually
from tests.own_database import own_database

ENTRY = AuditEntry(Actor("tester", "r-1"), "rebuild.start", "replica")


@dataclass
class Log:
    """A topic that two slots replicate into a database of its own, and what rebuilds it."""

    topic: str
    environment: dict[str, str]
    writer: KafkaWalWriter
    engine: Engine
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    def start(self, module: str, *arguments: str) -> Path:
        """A process of ours; the file with what it says."""
        said = self.folder / f"{module}-{len(self.processes)}.txt"
        argv = [sys.executable, "-m", f"tests.integration.{module}", self.topic, *arguments]
        with said.open("w") as output:
            self.processes.append(subprocess.Popen(argv, cwd=ROOT, env=self.environment, stdout=output))
        return said

    def rebuild(self, batch: int = 500) -> Path:
        return self.start("rebuild_slot", str(batch))

    def write(self, count: int) -> None:
        """Memories, of every tenth a newer version, of every twentieth the end."""
        ids = [an_id() for _ in range(count)]
        bodies = [a_wal_body(name, tenant=self.topic) for name in ids]
        bodies += [{**a_wal_body(name, tenant=self.topic), "version": 2} for name in ids[::10]]
        bodies += [{**a_wal_body(name, tenant=self.topic, type="memory.delete"), "version": 3} for name in ids[::20]]
        records = [a_record(self.topic, partition_key=body["event_id"], payload=body) for body in bodies]
        assert not [sent for sent in self.writer.publish(records) if isinstance(sent, Exception)]
        self.written |= set(ids)

    def all(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(text(statement), values))

    def replicated(self) -> bool:
        return {row.event_id for row in self.all("SELECT event_id FROM memory_replica")} >= self.written

    def found(self, rebuild_id: str) -> Rebuild:
        found = SqlRebuildDesk(self.engine).find(rebuild_id)
        assert found is not None
        return found

    def ended(self, rebuild_id: str) -> Rebuild:
        eventually(lambda: self.found(rebuild_id).state.over)
        return self.found(rebuild_id)

    def asked(self) -> str:
        return SqlRebuildDesk(self.engine).start(RebuildKind.REPLICA, ENTRY)[0].id


@pytest.fixture
def log(servers: Stack, settings: Settings, tmp_path: Path) -> Iterator[Log]:
    topic = an_id("rebuild-")
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    admin.create_topics([NewTopic(topic, 3, 1)])
    admin.close()
    writer = KafkaWalWriter(connection_options(settings))
    with own_database(servers) as own:
        engine = create_engine(own["POSTGRES_DSN"], 5, "test", PATIENT)
        running = Log(topic, {**os.environ, **own, "PROCESS_NAME": "slot"}, writer, engine, tmp_path)
        for _ in range(2):
            running.start("replicator_slot", f"group-{topic}")
        yield running
        for process in running.processes:
            process.kill()
            process.wait()
        engine.dispose()
    writer.close()


def test_a_rebuild_under_load_loses_and_doubles_nothing_though_its_process_is_killed(log: Log) -> None:
    for _ in range(10):
        log.write(400)
    eventually(log.replicated)
    rebuild_id = log.asked()
    stopped = threading.Event()
    load = threading.Thread(target=_write_until, args=(log, stopped))
    load.start()
    try:
        first = log.rebuild(batch=50)
        eventually(lambda: first.read_text().count("stored") > 5)
        log.processes[-1].kill()
        assert 0 < log.found(rebuild_id).read < 4000
        log.rebuild()
        done = log.ended(rebuild_id)
    finally:
        stopped.set()
        load.join()

    assert done.state is RebuildState.COMPLETED, done.error
    assert done.comparison is not None
    assert done.comparison.equal
    assert done.comparison.new.rows >= 4000
    eventually(log.replicated)
    rows = log.all("SELECT count(*), count(DISTINCT event_id), count(deleted_at) FROM memory_replica")[0]
    assert rows[0] == rows[1] == len(log.written)
    assert rows[2] > 200
    assert log.all("SELECT count(*) FROM dlq_messages")[0][0] == 0


def _write_until(log: Log, stopped: threading.Event) -> None:
    while not stopped.wait(0.05):
        log.write(20)


def test_a_planted_difference_is_told_and_poison_is_not_buried_twice(log: Log) -> None:
    log.write(50)
    poison = a_record(log.topic, payload={"schema": 99, "n": 1})
    log.writer.publish([poison])
    eventually(log.replicated)
    eventually(lambda: _letters(log) == 1)
    missing, altered = sorted(log.written)[:2]
    log.all("DELETE FROM memory_replica WHERE event_id = :id RETURNING 1", id=missing)
    log.all("UPDATE memory_replica SET payload = '{}' WHERE event_id = :id RETURNING 1", id=altered)
    log.all(
        "INSERT INTO memory_replica (event_id, tenant, wal_timestamp, version, body_digest)"
        " VALUES ('forged', 't1', 1, 1, '') RETURNING 1"
    )

    rebuild_id = log.asked()
    log.rebuild()
    done = log.ended(rebuild_id)

    assert done.comparison is not None
    assert not done.comparison.equal
    found = done.comparison
    assert (found.only_old, found.only_new, found.differing) == (1, 1, 1)
    assert set(found.examples) == {"forged", missing, altered}
    assert (done.poison, _letters(log)) == (1, 1)
    assert {row.event_id for row in log.all("SELECT event_id FROM memory_replica")} == log.written


def _letters(log: Log) -> int:
    query = "SELECT count(*) FROM dlq_messages WHERE topic = :topic"
    return int(log.all(query, topic=dead_letter_topic(log.topic))[0][0])


def test_a_log_that_is_not_there_rebuilds_nothing(log: Log) -> None:
    log.write(20)
    eventually(log.replicated)
    for slot in log.processes:
        slot.kill()
        slot.wait()
    log.all("UPDATE replicator_offsets SET next_offset = next_offset + 1000 RETURNING 1")

    rebuild_id = log.asked()
    log.rebuild()
    failed = log.ended(rebuild_id)

    assert failed.state is RebuildState.FAILED
    assert "this is not the log" in str(failed.error)
    assert log.replicated()


def test_a_broker_that_is_away_is_an_outage() -> None:
    nowhere = connection_options(read({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}))
    history = KafkaWalHistory(nowhere, "memory.wal")

    with pytest.raises(WalUnavailable):
        history.bounds()
    history.close()


def test_the_history_reads_from_a_place_to_a_place_and_not_beyond(log: Log, settings: Settings) -> None:
    log.write(40)
    history = KafkaWalHistory(connection_options(settings), log.topic)
    bounds = history.bounds()
    until = {number: end - 1 for number, (_, end) in bounds.items()}
    places = dict.fromkeys(until, 1)
    read_offsets: dict[int, list[int]] = {number: [] for number in until}

    def read_on() -> bool:
        for batch in history.read(places, until, 0.5, 7):
            assert batch.start == places[batch.partition.number]
            read_offsets[batch.partition.number] += [record.offset for record in batch.records]
            places[batch.partition.number] = batch.end
        return places == until

    eventually(read_on)
    assert read_offsets == {number: list(range(1, end)) for number, end in until.items()}

    # And further, when there is more; a place that was read before is read again.
    number = next(iter(until))
    assert [record.offset for record in _read(history, {number: 0}, {number: 2})] == [0, 1]
    history.close()


def _read(history: KafkaWalHistory, places: dict[int, int], until: dict[int, int]) -> list[Any]:
    found = eventually(lambda: history.read(places, until, 0.5, 100))
    return [record for batch in found for record in batch.records]

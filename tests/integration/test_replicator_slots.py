"""Slots in several processes share the log's partitions, and take over from one that died or froze."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from sqlalchemy import Engine, text

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.writer import KafkaWalWriter
from app.settings import Settings
from devstack.stack import Stack
from tests.builders import a_record, a_wal_body, an_id
from tests.conftest import ROOT, eventually

PARTITIONS = 3


@dataclass
class Slots:
    """A topic, its writer, and the processes that replicate it; what was written is found by `stored`."""

    topic: str
    environment: dict[str, str]
    writer: KafkaWalWriter
    engine: Engine
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "tests.integration.replicator_slot", self.topic, f"group-{self.topic}"]
        with self._said(len(self.processes)).open("w") as said:
            process = subprocess.Popen(argv, cwd=ROOT, env=self.environment, stdout=said)
        self.processes.append(process)
        return process

    def _said(self, place: int) -> Path:
        return self.folder / f"slot-{place}.txt"

    def write(self, count: int) -> set[str]:
        ids = [an_id() for _ in range(count)]
        self.writer.publish(
            [a_record(self.topic, partition_key=name, payload=a_wal_body(name, tenant=self.topic)) for name in ids]
        )
        return set(ids)

    def stored(self) -> set[str]:
        with self.engine.begin() as connection:
            rows = connection.execute(text("SELECT event_id FROM memory_replica WHERE tenant = :t"), {"t": self.topic})
            return set(rows.scalars())

    def both_at_work(self) -> None:
        """Write until each process has stored something since it was asked."""
        begin = [self._said(place).stat().st_size for place in range(len(self.processes))]

        def all_stored() -> bool:
            self.write(6)
            return all("stored" in self._said(place).read_text()[skip:] for place, skip in enumerate(begin))

        eventually(all_stored)


@pytest.fixture
def slots(servers: Stack, settings: Settings, engine: Engine, tmp_path: Path) -> Iterator[Slots]:
    topic = an_id("slots-")
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    admin.close()
    environment = {**os.environ, **servers.environment, "PROCESS_NAME": "slot"}
    running = Slots(topic, environment, KafkaWalWriter(connection_options(settings)), engine, tmp_path)
    yield running
    for process in running.processes:
        process.kill()
        process.wait()
    running.writer.close()


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_the_other_slot_takes_over_within_ten_seconds(
    slots: Slots, blow: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    victim, _heir = slots.start(), slots.start()
    slots.both_at_work()

    victim.send_signal(blow)
    began = time.monotonic()
    written = slots.write(60)
    eventually(lambda: written <= slots.stored())

    seconds = time.monotonic() - began
    record_property("takeover_seconds", round(seconds, 1))
    assert seconds < 10


def test_a_frozen_slot_that_wakes_up_writes_nothing_twice(slots: Slots) -> None:
    zombie = slots.start()
    slots.start()
    slots.both_at_work()
    zombie.send_signal(signal.SIGSTOP)
    written = slots.write(60)
    eventually(lambda: written <= slots.stored())
    before = _place(slots)

    zombie.send_signal(signal.SIGCONT)
    slots.both_at_work()

    assert _dead_letters(slots) == 0
    assert all(_place(slots)[number] >= offset for number, offset in before.items())


def _place(slots: Slots) -> dict[int, int]:
    with slots.engine.begin() as connection:
        query = text("SELECT partition, next_offset FROM replicator_offsets WHERE topic = :topic")
        return {row.partition: row.next_offset for row in connection.execute(query, {"topic": slots.topic})}


def _dead_letters(slots: Slots) -> int:
    with slots.engine.begin() as connection:
        query = text("SELECT count(*) FROM dlq_messages WHERE topic = :topic")
        return int(connection.execute(query, {"topic": f"{slots.topic}.dlq"}).scalar_one())

"""`make bench-replicator`: how fast the log becomes the replica, and how far behind it is at 500 records a second.

The replicator's code takes records as they lie in Kafka and stores them, batch by batch; the bare loop gives the very
same rows to `execute_values`, into a table with the same columns and indexes, in turns of a slice each. For the lag the
records go through the real Kafka, and the database's own clock says when each was written and when it was there.
`python -m bench.replicate 1000 10000` goes up to these sizes only.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import psycopg2
from psycopg2.extras import execute_values
from sqlalchemy import Engine, text

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.reader import KafkaWalReader
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from app.adapters.sql.replica import SqlReplica
from app.domain.log import RawRecord, WalBatch, WalPartition
from app.domain.memory import Memory, Place, Remembered, WalRecord, wal_write
from app.domain.wal import parse_all
from app.services.replicate_wal import Bridge, replicate, replicate_slice
from app.settings import read
from app.wiring.process import SystemClock
from bench.nobody import NobodyHears
from bench.pair import SIZES, climb
from devstack.stack import Stack

SLICE, BATCH, GOAL = 1_000, 500, 0.6
RATE, LAG_SECONDS, LAG_GOAL_MS, EVERY = 500, 20, 250.0, 0.1
_TOPIC = "memory.wal"
_TWIN = "CREATE TABLE replica_bare (LIKE memory_replica INCLUDING ALL)"
_COLUMNS = (
    "event_id, session_id, persona_id, tenant, role, universe, namespace, coord, request_id, trace_id, payload,"
    " wal_timestamp, version, body_digest"
)
_LAGS = text("""
    SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM created_at) - wal_timestamp)
    FROM memory_replica WHERE tenant = 'lag'
""")
_SAID = "what was said in this place, at the length of an everyday message " * 4


class _NoLog:
    """A log from which nobody reads on: the batches are handed over."""

    def poll(self, _seconds: float, _limit: int) -> list[WalBatch]:
        """Nothing."""
        return []

    def commit(self, batch: WalBatch) -> None:
        """Nowhere."""

    def rewind(self) -> None:
        """Nowhere."""


def main(sizes: tuple[int, ...] = SIZES) -> int:
    """Measure both; the exit status is 1 when a goal is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-replicator-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations", "kafka"}) as stack,
    ):
        engine = create_engine(stack.environment["POSTGRES_DSN"], 5, "bench", UNHURRIED)
        sys.stdout.write(f"the replicator's code, batches of {BATCH}, against a bare execute_values\n")
        ratio = _ratio(engine, stack.environment["POSTGRES_DSN"], sizes)
        sys.stdout.write(f"ratio of all together {ratio:.2f}  goal {GOAL}\n")
        p50, p99 = _lag(engine, stack)
        engine.dispose()
    sys.stdout.write(
        f"lag, {RATE} records/s for {LAG_SECONDS} s     p50 {p50:.0f} ms  p99 {p99:.0f} ms  goal {LAG_GOAL_MS:.0f} ms\n"
    )
    return 0 if ratio >= GOAL and p99 <= LAG_GOAL_MS else 1


def _ratio(engine: Engine, dsn: str, sizes: tuple[int, ...]) -> float:
    """How fast the replicator's code is; 1 is as fast as bare."""
    partition, replica = WalPartition("bench", 0), SqlReplica(engine)
    generation = replica.take(partition).generation
    bridge = Bridge(_NoLog(), replica, NobodyHears(), SystemClock(), NobodyHears(), lambda *_: None)
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_TWIN)
        connection.commit()

        def measure(start: int, rows: int) -> tuple[int, float, float]:
            values = [json.dumps(record.payload).encode() for record in records_of("rate", start, rows)]
            batches = list(_batches(partition, start, values, generation))
            began = time.monotonic()
            for batch in batches:
                replicate(batch, bridge)
            ours, bare = time.monotonic() - began, _rows(values)
            began = time.monotonic()
            for place in range(0, rows, BATCH):
                execute_values(cursor, f"INSERT INTO replica_bare ({_COLUMNS}) VALUES %s", bare[place : place + BATCH])
                connection.commit()
            return sum(map(len, values)), ours, time.monotonic() - began

        return climb(sizes, SLICE, lambda: psutil.Process().memory_info().rss, measure).ratio


def _batches(partition: WalPartition, start: int, values: Sequence[bytes], generation: int) -> Iterator[WalBatch]:
    stamp = int(time.time() * 1000)
    for first in range(0, len(values), BATCH):
        offset = start + first
        raw = tuple(
            RawRecord(partition, offset + n, value, stamp) for n, value in enumerate(values[first : first + BATCH])
        )
        yield WalBatch(partition, offset, offset + len(raw), raw, generation)


def _rows(values: Sequence[bytes]) -> list[tuple[object, ...]]:
    good, _ = parse_all(enumerate(values), time.time())
    return [
        (row.event_id, row.session_id, row.persona_id, row.tenant, row.role, row.universe, row.namespace,
         list(row.coord or ()), row.request_id, row.trace_id, json.dumps(row.payload), row.wal_timestamp, row.version,
         row.body_digest)
        for row in good
    ]  # fmt: skip


def records_of(tenant: str, start: int, number: int) -> Iterator[WalRecord]:
    """So many records of the log, of everyday length, numbered from `start` on."""
    place, receipt, now = Place(tenant, "wm", ""), Remembered((0.1, 0.2, 0.3), "r", None), SystemClock().now()
    return (wal_write(_memory(place, n), receipt, _TOPIC, now) for n in range(start, start + number))


def _memory(place: Place, number: int) -> Memory:
    key = f"{place.tenant}-{number}"
    payload = {"id": key, "type": "conversation_event", "content": f"{number} {_SAID}", "metadata": {}}
    return Memory(key, place, f"s{number % 100}", None, "user", payload, key)


def _lag(engine: Engine, stack: Stack) -> tuple[float, float]:
    settings = read({**stack.environment, "REPLICATOR_SLICE_SECONDS": "1"})
    replica, done = SqlReplica(engine), threading.Event()
    reader = KafkaWalReader(connection_options(settings), _TOPIC, "bench", replica.take)
    bridge = Bridge(reader, replica, NobodyHears(), SystemClock(), NobodyHears(), lambda *_: None, slice_seconds=1.0)
    slot = threading.Thread(target=lambda: _replicate_until(done, bridge), daemon=True)
    slot.start()
    writer = KafkaWalWriter(connection_options(settings))
    writer.publish(list(records_of("first", 0, 1)))
    time.sleep(5)
    began, each = time.monotonic(), int(RATE * EVERY)
    for number in range(int(LAG_SECONDS / EVERY)):
        time.sleep(max(began + number * EVERY - time.monotonic(), 0))
        writer.publish(list(records_of("lag", number * each, each)))
    time.sleep(2)
    done.set()
    slot.join(10)
    with engine.begin() as connection:
        p50, p99 = connection.execute(_LAGS).scalar_one()
    return p50 * 1000, p99 * 1000


def _replicate_until(done: threading.Event, bridge: Bridge) -> None:
    while not done.is_set():
        replicate_slice(bridge)


if __name__ == "__main__":
    sys.exit(main(tuple(map(int, sys.argv[1:])) or SIZES))

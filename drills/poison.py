"""Poison in `memory.wal`: eight kinds of records that can never be replicated, five of each."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from kafka import KafkaProducer

from drills.trouble import Stage

EACH = 5
KINDS = 8
_LETTERS = "SELECT error_kind, count(*) FROM dlq_messages WHERE state = 'open' GROUP BY error_kind"
_LAG = """
    SELECT coalesce(max(extract(epoch FROM r.created_at) - extract(epoch FROM o.finished_at)), 0)::float
    FROM memory_replica r JOIN message_outbox o ON o.dedupe_key LIKE r.event_id || '%%'
    WHERE r.tenant = %(tenant)s
"""
_WAIT_SECONDS = 40.0
LAG_SECONDS = 5.0


def poison(stage: Stage) -> None:
    """Write them between the records of the load, and wait until all lie with the dead letters."""
    before = _letters(stage)
    tenant = f"{stage.target.tenant}-poison"
    producer = KafkaProducer(
        bootstrap_servers=stage.stack.environment["KAFKA_BOOTSTRAP_SERVERS"].split(","),
        compression_type="gzip",  # or the broker would not take the one that is too big
        max_request_size=4_000_000,
    )
    topic = stage.stack.environment.get("MEMORY_WAL_TOPIC", "memory.wal")
    try:
        for key, value in records(tenant):
            producer.send(topic, value, key=key).get(timeout=10)
            stage.rest(0.3)
    finally:
        producer.close()
    stage.planted = EACH * KINDS
    _wait(stage, sum(before.values()) + stage.planted)
    stage.felt += sum(_letters(stage).values()) - sum(before.values())
    stage.later.append(lambda: _late(stage))


def _wait(stage: Stage, wanted: int) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while sum(_letters(stage).values()) < wanted and time.monotonic() < deadline:
        time.sleep(0.3)


def _letters(stage: Stage) -> dict[str, int]:
    return {str(kind): int(count) for kind, count in stage.sql(_LETTERS)}


def _late(stage: Stage) -> list[str]:
    lag = float(stage.sql(_LAG)[0][0])
    stage.figures["lag of the good records at most, s"] = round(lag, 2)
    return [f"a good record waited {lag:.1f} s behind the poison"] if lag > LAG_SECONDS else []


def records(tenant: str) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each; every twin follows a good record with the same id and version."""
    for number in range(EACH):
        twin = f"twin-{uuid.uuid4().hex}"
        yield b"k1", b'{"schema": 2, "event_id": '
        yield b"k2", _json(_good(tenant) | {"payload": "no object"})
        yield b"k3", _json(_good(tenant) | {"schema": 99})
        yield b"k4", _json(_good(tenant) | {"payload": {"content": "a NUL \x00 in it"}})
        yield b"k5", _json(_good(tenant)).replace(b"hello", b"\\ud83d alone")
        yield b"k6", _json(_good(tenant) | {"payload": {"content": "x" * 1_100_000}})
        yield b"k7", _json(_good(tenant) | {"timestamp": time.time() + 3 * 86_400})
        yield b"k8", _json(_good(tenant, twin))
        yield b"k8", _json(_good(tenant, twin) | {"payload": {"content": f"another body {number}"}})


def _good(tenant: str, event_id: str = "") -> dict[str, Any]:
    return {
        "schema": 2,
        "event_id": event_id or f"poison-{uuid.uuid4().hex}",
        "type": "memory.write",
        "version": 1,
        "role": "user",
        "tenant": tenant,
        "universe": "drill",
        "namespace": "wm",
        "payload": {"content": "hello"},
        "result": {},
        "timestamp": time.time(),
    }


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()

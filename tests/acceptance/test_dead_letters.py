"""Poison in the log becomes a dead letter, and a person's correction brings the memory into the replica after all."""

import json
import urllib.error
from typing import Any

import pytest
from kafka import KafkaProducer

from devstack.stack import Stack
from tests.acceptance.following import call
from tests.builders import a_wal_body, an_id
from tests.conftest import eventually

pytestmark = pytest.mark.servers


def poison(stack: Stack, value: bytes) -> None:
    """Write to the log as a broken program of somebody else would."""
    producer = KafkaProducer(bootstrap_servers=stack.environment["KAFKA_BOOTSTRAP_SERVERS"])
    producer.send("memory.wal", value).get(30)
    producer.close()


def letter_about(gateway: str, words: str) -> dict[str, Any] | None:
    """The newest letter whose record holds these words."""
    letters: list[dict[str, Any]] = call(gateway, "/v1/admin/dlq/memory.wal.dlq?limit=200")
    return next((letter for letter in letters if words in json.dumps(letter["event"])), None)


def in_the_replica(gateway: str, event_id: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = call(gateway, f"/v1/admin/memory/{event_id}")
    except urllib.error.HTTPError:
        return None
    return found


def test_a_corrected_dead_letter_reaches_the_replica(stack: Stack) -> None:
    gateway, event_id = stack.url("gateway"), an_id()
    poison(stack, json.dumps(a_wal_body(event_id, tenant=None, timestamp="yesterday")).encode())
    letter = eventually(lambda: letter_about(gateway, event_id))
    path = f"/v1/admin/dlq/memory.wal.dlq/{letter['id']}/reprocess"
    with pytest.raises(urllib.error.HTTPError) as refused:
        call(gateway, path, {"patch": {"tenant": "t1"}})
    assert refused.value.code == 422

    done = call(gateway, path, {"patch": {"tenant": "t1", "timestamp": 1}})

    assert done["items"] == [{"id": letter["id"], "event_id": event_id}]
    row = eventually(lambda: in_the_replica(gateway, event_id))
    assert (row["tenant"], row["wal_timestamp"], row["payload"]["content"]) == ("t1", 1, "hello")
    settled = letter_about(gateway, event_id)
    assert settled is not None
    assert settled["state"] == "replayed"


def test_what_is_not_json_is_replaced_by_a_whole_record(stack: Stack) -> None:
    gateway, mark, event_id = stack.url("gateway"), an_id("mark-"), an_id()
    poison(stack, f"{mark} is no JSON".encode())
    letter = eventually(lambda: letter_about(gateway, mark))

    call(gateway, f"/v1/admin/dlq/memory.wal.dlq/{letter['id']}/reprocess", {"patch": a_wal_body(event_id)})

    assert eventually(lambda: in_the_replica(gateway, event_id))["payload"]["content"] == "hello"

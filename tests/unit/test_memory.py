"""A memory's place, its key that never changes, and its record."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from app.domain.events import EventType, SessionEvent
from app.domain.memory import Place, by_place, idempotency_key, memory_of, place_of, wal_write
from app.domain.wal import parse
from tests.builders import NOW, a_memory, a_receipt

PLACE = Place("t1", "wm", "u-1")


def an_event(**fields: object) -> SessionEvent:
    values: dict[str, object] = {
        "event_id": "e-1", "session_id": "s-1", "persona_id": "p-1", "tenant": "t1", "type": EventType.USER,
        "role": "user", "message": "hello", "metadata": {"n": 1}, "seq": 1, "turn_seq": 1, "created_at": NOW,
        "traceparent": "00-aa-bb-01",
    }  # fmt: skip
    return SessionEvent(**{**values, **fields})  # type: ignore[arg-type]


def test_metadata_decides_where_a_memory_belongs() -> None:
    assert place_of("t1", {}, "u-0", "wm") == Place("t1", "wm", "u-0")
    assert place_of("t1", {"universe_id": "u-1", "namespace": "ltm"}, "u-0", "wm") == Place("t1", "ltm", "u-1")
    assert place_of("t1", {"universe_id": "", "namespace": None}, "u-0", "wm") == Place("t1", "wm", "u-0")


def test_memories_are_grouped_by_their_place_and_keep_their_order() -> None:
    here, there = PLACE, Place("t2", "wm", "u-1")
    items = [(1, there), (2, here), (3, there), (4, here), (5, there)]

    grouped = by_place(iter(items), lambda item: item[1])

    assert [[number for number, _ in group] for group in grouped] == [[1, 3, 5], [2, 4]]
    assert by_place([], lambda item: item) == []


def test_the_key_is_made_of_place_session_role_second_and_id() -> None:
    key = idempotency_key(PLACE, "s-1", "user", datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC), "e-1")

    assert key == f"t1/wm/s-1/user/2026-01-02T03:04:05Z/{hashlib.sha256(b'e-1').hexdigest()[:16]}"


def test_the_key_is_the_same_in_every_time_zone() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))

    assert idempotency_key(PLACE, None, "user", there, "e") == idempotency_key(PLACE, None, "user", NOW, "e")


def test_a_message_becomes_a_memory_with_all_that_belongs_to_it() -> None:
    memory = memory_of(an_event(), PLACE, ("a-1",))

    assert memory.payload == {
        "id": "e-1", "type": "conversation_event", "role": "user", "content": "hello", "session_id": "s-1",
        "persona_id": "p-1", "metadata": {"n": 1}, "attachments": ["a-1"], "idempotency_key": memory.idempotency_key,
        "namespace": "wm", "created_at": NOW.isoformat(),
    }  # fmt: skip
    assert memory.traceparent == "00-aa-bb-01"


def test_what_is_written_to_the_log_is_what_the_replica_understands() -> None:
    memory = memory_of(an_event(), PLACE)
    record = wal_write(memory, a_receipt(trace_id="tr-1"), "memory.wal", NOW)

    row = parse(json.dumps(record.payload).encode(), 0, NOW.timestamp())

    assert (row.event_id, row.version, row.tenant, row.namespace, row.universe) == ("e-1", 1, "t1", "wm", "u-1")
    assert (row.coord, row.request_id, row.trace_id) == ((0.1, 0.2, 0.3), "r-1", "tr-1")
    assert row.payload == memory.payload
    assert record.headers == {"event_id": "e-1", "type": "memory.write", "traceparent": "00-aa-bb-01"}


def test_records_of_a_session_share_a_partition_and_one_without_has_its_own() -> None:
    memory = memory_of(an_event(), PLACE)
    assert wal_write(memory, a_receipt(), "t", NOW).partition_key == "s-1"

    lonely = a_memory(event_id="e-2")
    object.__setattr__(lonely, "session_id", None)

    assert wal_write(lonely, a_receipt(), "t", NOW).partition_key == "e-2"


def test_a_receipt_without_coordinate_is_a_record_without() -> None:
    record = wal_write(a_memory(), a_receipt(coordinate=None), "t", NOW)

    assert record.payload["result"]["coord"] is None

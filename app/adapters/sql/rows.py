"""Rows and domain data, in both directions: the few places where a column's name is written down."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.domain.events import NewEvent, SessionEvent, envelope
from app.domain.memory import Memory, Place, WalRecord, digest_of, wal_delete

# Made once: `json.dumps` makes an encoder at every call whose settings are not its own.
as_json: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
"""JSON text for a jsonb parameter."""


APPEND_EVENTS = """
    INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, turn_seq, payload, created_at)
    SELECT session_id, seq, event_id, tenant, type, role, turn_seq, payload, created_at
    FROM json_to_recordset(CAST(:events AS json))
         AS event (session_id text, seq bigint, event_id text, tenant text, type text, role text, turn_seq bigint,
                   payload jsonb, created_at timestamptz)
"""
"""Writes `events_as_json`, alone or as a part of a longer statement."""
_APPEND_EVENTS = text(APPEND_EVENTS)


def append_event(connection: Connection, event: SessionEvent) -> None:
    """Write an event whose `seq` was taken under the session's row lock."""
    connection.execute(_APPEND_EVENTS, {"events": events_as_json([event])})


def events_as_json(events: Iterable[SessionEvent]) -> str:
    """Rows for `APPEND_EVENTS`; the `seq` of each was taken under its session's row lock."""
    return as_json([_event_row(event) for event in events])


def _event_row(event: SessionEvent) -> dict[str, Any]:
    return {
        "session_id": event.session_id,
        "seq": event.seq,
        "event_id": event.event_id,
        "tenant": event.tenant,
        "type": event.type.value,
        "role": event.role,
        "turn_seq": event.turn_seq,
        "payload": envelope(event),
        "created_at": event.created_at.isoformat(),
    }


_NEXT_SEQ = text("""
    UPDATE sessions SET next_seq = next_seq + 1, updated_at = now() WHERE session_id = :session_id
    RETURNING next_seq AS seq, tenant, persona_id, clock_timestamp() AS now
""")


def append_next(
    connection: Connection, session_id: str, event: NewEvent, turn_seq: int | None, traceparent: str | None
) -> SessionEvent:
    """Give the event its place at the end of the session's line (row lock: gap-free, in commit order)."""
    row = connection.execute(_NEXT_SEQ, {"session_id": session_id}).mappings().one()
    placed = place_event(event, row, session_id, turn_seq, traceparent)
    append_event(connection, placed)
    return placed


_FIND_EVENT = text("""
    SELECT seq, tenant, payload ->> 'persona_id' AS persona_id, created_at AS now FROM session_events
    WHERE event_id = :event_id AND type = :type
""")


def find_event(
    connection: Connection, session_id: str, event: NewEvent, turn_seq: int | None, traceparent: str | None
) -> SessionEvent | None:
    """The event with the place that it was given before; None where it was never kept."""
    found = connection.execute(_FIND_EVENT, {"event_id": event.event_id, "type": event.type.value})
    row = found.mappings().one_or_none()
    return None if row is None else place_event(event, row, session_id, turn_seq, traceparent)


def place_event(
    event: NewEvent, row: RowMapping | Mapping[str, Any], session_id: str, turn_seq: int | None, traceparent: str | None
) -> SessionEvent:
    """The event with the place that `row` (seq, tenant, persona_id, now) gives it."""
    return SessionEvent(
        event_id=event.event_id,
        session_id=session_id,
        persona_id=row["persona_id"],
        tenant=row["tenant"],
        type=event.type,
        role=event.role,
        message=event.message,
        metadata=event.metadata,
        seq=row["seq"],
        turn_seq=turn_seq,
        created_at=row["now"],
        traceparent=traceparent,
        also=event.also,
    )


def memory_of_row(row: RowMapping) -> Memory:
    """The memory that a row of the outbox, of the ledger or of the replica is about. What its table has no column for,
    and what is NULL there, is empty: the ledger repeats nothing of what a memory said.
    """
    return Memory(
        event_id=row["event_id"],
        place=Place(row["tenant"], row["namespace"], row["universe"]),
        session_id=row["session_id"],
        persona_id=row["persona_id"],
        role=row["role"] or "",
        payload=row.get("payload") or {},
        idempotency_key=row.get("idempotency_key", ""),
        traceparent=row.get("traceparent"),
        version=row["version"],
    )


OWE_MEMORIES = """
    offered AS (
        SELECT * FROM json_to_recordset(CAST(:memories AS json))
            AS memory (event_id text, tenant text, namespace text, universe text, session_id text, persona_id text,
                       role text, payload jsonb, idempotency_key text, traceparent text, digest text)
    ), noted AS (
        INSERT INTO memory_ledger (event_id, tenant, namespace, universe, session_id, persona_id, role,
                                   idempotency_key, digest)
        SELECT event_id, tenant, namespace, universe, session_id, persona_id, role, idempotency_key,
               decode(digest, 'hex') FROM offered ORDER BY event_id
        ON CONFLICT (event_id) DO NOTHING
        RETURNING event_id
    )
    INSERT INTO memory_write_outbox (event_id, tenant, namespace, universe, session_id, persona_id, role, payload,
                                     idempotency_key, traceparent)
    SELECT event_id, tenant, namespace, universe, session_id, persona_id, role, payload, idempotency_key, traceparent
    FROM offered JOIN noted USING (event_id)
    RETURNING event_id
"""
"""Notes and owes `memories_as_json`, and returns the ids that were new: the end of a statement that has begun with
`WITH`.
"""
_OWE_MEMORIES = text(f"WITH {OWE_MEMORIES}")


def owe_memories(connection: Connection, memories: Sequence[Memory], digests: Sequence[bytes] = ()) -> set[str]:
    """Note new memories in the ledger, and write the rows from which they will be delivered, however often that has to
    be tried; the ids that were new. Whoever uses an id again changes nothing.

    `digests` are those of the payloads, one for each memory; without it they are computed.
    """
    return set(connection.execute(_OWE_MEMORIES, {"memories": memories_as_json(memories, digests)}).scalars())


def memories_as_json(memories: Sequence[Memory], digests: Sequence[bytes] = ()) -> str:
    """Rows for `OWE_MEMORIES`; without `digests` they are computed."""
    digests = digests or [digest_of(memory.payload) for memory in memories]
    return as_json([_memory_row(memory, digest) for memory, digest in zip(memories, digests, strict=True)])


def _memory_row(memory: Memory, digest: bytes) -> dict[str, Any]:
    return {
        "event_id": memory.event_id,
        "tenant": memory.place.tenant,
        "namespace": memory.place.namespace,
        "universe": memory.place.universe,
        "session_id": memory.session_id,
        "persona_id": memory.persona_id,
        "role": memory.role,
        "payload": memory.payload,
        "idempotency_key": memory.idempotency_key,
        "traceparent": memory.traceparent,
        "digest": digest.hex(),
    }


def owe_memory(connection: Connection, memory: Memory) -> None:
    """Owe one memory under a new id."""
    owe_memories(connection, [memory])


# Counting the attempts up fences whoever has the row in hand. Its call to SomaBrain may be under way: the forgetting
# has to come after it, and so waits as long as a call may take.
_OWE_FORGETTING = text("""
    INSERT INTO memory_write_outbox AS o (event_id, op, tenant, namespace, universe, session_id, persona_id, role,
                                          payload, idempotency_key, version)
    SELECT event_id, 'forget', tenant, namespace, universe, session_id, persona_id, role, '{}', idempotency_key, version
    FROM memory_ledger WHERE event_id = :event_id
    ON CONFLICT (event_id) DO UPDATE
    SET op = 'forget', payload = '{}', version = excluded.version, state = 'pending', finished_at = NULL,
        run_at = now() + make_interval(secs => CASE WHEN o.lease_owner IS NULL THEN 0 ELSE :call_seconds END),
        lease_owner = NULL, lease_until = NULL, attempts = o.attempts + 1, excused = o.attempts + 1, failures = 0,
        outage = false, last_error = NULL
""")


def owe_forgetting(connection: Connection, memory: Memory, wal_topic: str, call_seconds: float) -> None:
    """Owe SomaBrain the forgetting of a memory that the ledger holds as forgotten, and the log its record. Its owed row
    is this decision's from now on; a call under way, which takes at most `call_seconds`, is waited for.
    """
    connection.execute(_OWE_FORGETTING, {"event_id": memory.event_id, "call_seconds": call_seconds})
    owe_records(connection, [wal_delete(memory, wal_topic, datetime.now(UTC))])


_OWE_RECORDS = text("""
    INSERT INTO message_outbox (topic, partition_key, payload, headers, dedupe_key, tenant, session_id, run_at)
    SELECT topic, partition_key, payload, headers, dedupe_key, tenant, session_id,
           now() + make_interval(secs => due_in)
    FROM json_to_recordset(CAST(:records AS json))
         AS record (topic text, partition_key text, payload jsonb, headers jsonb, dedupe_key text, tenant text,
                    session_id text, due_in double precision)
    ON CONFLICT (topic, dedupe_key) DO NOTHING
""")


def owe_records(connection: Connection, records: Sequence[WalRecord], due_in: Sequence[float] = ()) -> None:
    """Write the rows from which Kafka will be served; a record that is already there stays as it is.

    `due_in` are seconds from now, one for each record; without it all are due now.
    """
    if not records:
        return
    rows = [
        {
            "topic": record.topic,
            "partition_key": record.partition_key,
            "payload": record.payload,
            "headers": record.headers,
            "dedupe_key": record.dedupe_key,
            "tenant": record.tenant,
            "session_id": record.session_id,
            "due_in": seconds,
        }
        for record, seconds in zip(records, due_in or [0.0] * len(records), strict=True)
    ]
    connection.execute(_OWE_RECORDS, {"records": as_json(rows)})

"""Rows and domain data, in both directions: the few places where a column's name is written down."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.domain.events import NewEvent, SessionEvent, envelope
from app.domain.memory import Memory, WalRecord, digest_of


def as_json(value: object) -> str:
    """JSON text for a jsonb parameter."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


_APPEND_EVENT = text("""
    INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, turn_seq, payload, created_at)
    VALUES (:session_id, :seq, :event_id, :tenant, :type, :role, :turn_seq, CAST(:payload AS jsonb), :created_at)
""")


def append_event(connection: Connection, event: SessionEvent) -> None:
    """Write an event whose `seq` was taken under the session's row lock."""
    connection.execute(
        _APPEND_EVENT,
        {
            "session_id": event.session_id,
            "seq": event.seq,
            "event_id": event.event_id,
            "tenant": event.tenant,
            "type": event.type.value,
            "role": event.role,
            "turn_seq": event.turn_seq,
            "payload": as_json(envelope(event)),
            "created_at": event.created_at,
        },
    )


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


_OWE_MEMORIES = text("""
    WITH offered AS (
        SELECT * FROM unnest(
            CAST(:event_ids AS text[]), CAST(:tenants AS text[]), CAST(:namespaces AS text[]),
            CAST(:universes AS text[]), CAST(:sessions AS text[]), CAST(:personas AS text[]),
            CAST(:roles AS text[]), CAST(:payloads AS text[]), CAST(:keys AS text[]), CAST(:traceparents AS text[]),
            CAST(:digests AS text[]))
            AS memory (event_id, tenant, namespace, universe, session_id, persona_id, role, payload, idempotency_key,
                       traceparent, digest)
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
    SELECT event_id, tenant, namespace, universe, session_id, persona_id, role, CAST(payload AS jsonb),
           idempotency_key, traceparent
    FROM offered JOIN noted USING (event_id)
    RETURNING event_id
""")


def owe_memories(connection: Connection, memories: Sequence[Memory]) -> set[str]:
    """Note new memories in the ledger, and write the rows from which they will be delivered, however often that has to
    be tried; the ids that were new. Whoever uses an id again changes nothing.
    """
    columns = {
        "event_ids": [memory.event_id for memory in memories],
        "tenants": [memory.place.tenant for memory in memories],
        "namespaces": [memory.place.namespace for memory in memories],
        "universes": [memory.place.universe for memory in memories],
        "sessions": [memory.session_id for memory in memories],
        "personas": [memory.persona_id for memory in memories],
        "roles": [memory.role for memory in memories],
        "payloads": [as_json(memory.payload) for memory in memories],
        "keys": [memory.idempotency_key for memory in memories],
        "traceparents": [memory.traceparent for memory in memories],
        "digests": [digest_of(memory.payload).hex() for memory in memories],
    }
    return set(connection.execute(_OWE_MEMORIES, columns).scalars())


def owe_memory(connection: Connection, memory: Memory) -> None:
    """Owe one memory under a new id."""
    owe_memories(connection, [memory])


_OWE_RECORDS = text("""
    INSERT INTO message_outbox (topic, partition_key, payload, headers, dedupe_key, tenant, session_id, run_at)
    SELECT topic, partition_key, CAST(payload AS jsonb), CAST(headers AS jsonb), dedupe_key, tenant, session_id,
           now() + make_interval(secs => due_in)
    FROM unnest(CAST(:topics AS text[]), CAST(:keys AS text[]), CAST(:payloads AS text[]), CAST(:headers AS text[]),
                CAST(:dedupe_keys AS text[]), CAST(:tenants AS text[]), CAST(:sessions AS text[]),
                CAST(:due_ins AS double precision[]))
         AS record (topic, partition_key, payload, headers, dedupe_key, tenant, session_id, due_in)
    ON CONFLICT (topic, dedupe_key) DO NOTHING
""")


def owe_records(connection: Connection, records: list[WalRecord], due_in: Sequence[float] = ()) -> None:
    """Write the rows from which Kafka will be served; a record that is already there stays as it is.

    `due_in` are seconds from now, one for each record; without it all are due now.
    """
    if not records:
        return
    connection.execute(
        _OWE_RECORDS,
        {
            "topics": [record.topic for record in records],
            "keys": [record.partition_key for record in records],
            "payloads": [as_json(record.payload) for record in records],
            "headers": [as_json(record.headers) for record in records],
            "dedupe_keys": [record.dedupe_key for record in records],
            "tenants": [record.tenant for record in records],
            "sessions": [record.session_id for record in records],
            "due_ins": list(due_in) or [0.0] * len(records),
        },
    )

"""The replica of `memory.wal`: rows, dead letters and offset move in one transaction, or not at all.

A slot takes a partition by counting its generation up. Offset and generation are compared before the offset is set:
a slot that lost its partition and still carries a batch finds other numbers than its own, and writes nothing.
"""

import time
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json, owe_records
from app.domain.errors import LeaseLost
from app.domain.log import WalBatch, WalPartition, WalPlace
from app.domain.memory import WalRecord
from app.domain.wal import Poison, ReplicaRow, dead_letter, settle_versions
from app.routing import dead_letter_topic

_TAKE = text("""
    INSERT INTO replicator_offsets AS known (topic, partition, next_offset, generation)
    VALUES (:topic, :partition, 0, 1)
    ON CONFLICT (topic, partition) DO UPDATE SET generation = known.generation + 1, updated_at = now()
    RETURNING next_offset, generation
""")
_ADVANCE = text("""
    UPDATE replicator_offsets SET next_offset = :next, updated_at = now()
    WHERE topic = :topic AND partition = :partition AND next_offset = :start AND generation = :generation
""")
NEW_ROWS = """unnest(CAST(:event_ids AS text[]), CAST(:sessions AS text[]), CAST(:personas AS text[]),
        CAST(:tenants AS text[]), CAST(:roles AS text[]), CAST(:universes AS text[]), CAST(:namespaces AS text[]),
        CAST(:coords AS text[]), CAST(:requests AS text[]), CAST(:traces AS text[]), CAST(:payloads AS text[]),
        CAST(:timestamps AS double precision[]), CAST(:versions AS bigint[]), CAST(:digests AS text[]),
        CAST(:deletes AS boolean[]))
        AS new (event_id, session_id, persona_id, tenant, role, universe, namespace, coord, request_id, trace_id,
                payload, wal_timestamp, version, body_digest, deleted)"""
"""Rows of the log as a table; their columns are `columns_of`."""
NEWER_WINS = """ON CONFLICT (event_id) DO UPDATE
        SET session_id = excluded.session_id, persona_id = excluded.persona_id, tenant = excluded.tenant,
            role = excluded.role, universe = excluded.universe, namespace = excluded.namespace,
            payload = excluded.payload, version = excluded.version, body_digest = excluded.body_digest,
            deleted_at = excluded.deleted_at,
            coord = coalesce(excluded.coord, r.coord), request_id = coalesce(excluded.request_id, r.request_id)
        WHERE r.version < excluded.version"""
"""What becomes of a row `r` that is there already, in the replica and in whatever is to take its place.

`wal_timestamp` stays what it first was: it is the memory's place in every list, and a page would skip or repeat it.
"""
_UPSERT = text(f"""
    INSERT INTO memory_replica AS r (event_id, session_id, persona_id, tenant, role, universe, namespace, coord,
        request_id, trace_id, payload, wal_timestamp, version, body_digest, deleted_at)
    SELECT event_id, session_id, persona_id, tenant, role, universe, namespace, CAST(coord AS double precision[]),
        request_id, trace_id, CAST(payload AS jsonb), wal_timestamp, version, decode(body_digest, 'hex'),
        CASE WHEN deleted THEN now() END
    FROM {NEW_ROWS}
    {NEWER_WINS}
""")  # noqa: S608 - pieces of this module
_STORED = text("SELECT event_id, version, body_digest FROM memory_replica WHERE event_id = ANY(:event_ids)")
_BURY = text("""
    INSERT INTO dlq_messages (topic, source_partition, source_offset, raw, error, error_kind, fingerprint)
    SELECT :topic, :partition, "offset", decode(raw, 'hex'), error, kind, fingerprint
    FROM unnest(CAST(:offsets AS bigint[]), CAST(:raws AS text[]), CAST(:errors AS text[]), CAST(:kinds AS text[]),
        CAST(:fingerprints AS text[])) AS new ("offset", raw, error, kind, fingerprint)
    ON CONFLICT (topic, source_partition, source_offset) DO NOTHING
""")


class SqlReplica:
    """`Replica` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, partition: WalPartition) -> WalPlace:
        """Where this partition stands; from now on only batches of this taking can be stored."""
        with transaction(self._engine) as connection:
            found = connection.execute(_TAKE, {"topic": partition.topic, "partition": partition.number}).one()
            return WalPlace(found.next_offset, found.generation)

    def store(self, batch: WalBatch, good: Sequence[ReplicaRow], bad: Sequence[Poison]) -> list[ReplicaRow]:
        """Copy one batch; the rows that were new or newer."""
        with transaction(self._engine) as connection:
            _advance(connection, batch)
            winners, conflicts = settle_versions(good, _stored(connection, good))
            _upsert(connection, winners)
            _bury(connection, batch.partition, [*bad, *_poison(batch, conflicts)])
        return winners


def _advance(connection: Connection, batch: WalBatch) -> None:
    moved = connection.execute(
        _ADVANCE,
        {
            "topic": batch.partition.topic,
            "partition": batch.partition.number,
            "start": batch.start,
            "next": batch.end,
            "generation": batch.generation,
        },
    )
    if not moved.rowcount:
        raise LeaseLost(f"another slot has partition {batch.partition.number} now, or was faster")


def _stored(connection: Connection, rows: Sequence[ReplicaRow]) -> dict[str, tuple[int, bytes]]:
    known = connection.execute(_STORED, {"event_ids": [row.event_id for row in rows]}).mappings()
    return {row["event_id"]: (row["version"], bytes(row["body_digest"])) for row in known}


def _poison(batch: WalBatch, conflicts: Sequence[ReplicaRow]) -> list[Poison]:
    raw = {record.offset: record.value for record in batch.records}
    reason = "the same event_id and version came with another body"
    return [Poison(row.offset, raw[row.offset], "conflict", reason) for row in conflicts]


def _upsert(connection: Connection, rows: Sequence[ReplicaRow]) -> None:
    if rows:
        connection.execute(_UPSERT, columns_of(rows))


def columns_of(rows: Sequence[ReplicaRow]) -> dict[str, list[object]]:
    """What `NEW_ROWS` is made of."""
    return {
        "event_ids": [row.event_id for row in rows],
        "sessions": [row.session_id for row in rows],
        "personas": [row.persona_id for row in rows],
        "tenants": [row.tenant for row in rows],
        "roles": [row.role for row in rows],
        "universes": [row.universe for row in rows],
        "namespaces": [row.namespace for row in rows],
        "coords": [None if row.coord is None else f"{{{','.join(map(repr, row.coord))}}}" for row in rows],
        "requests": [row.request_id for row in rows],
        "traces": [row.trace_id for row in rows],
        "payloads": [None if row.deleted else as_json(row.payload) for row in rows],
        "timestamps": [row.wal_timestamp for row in rows],
        "versions": [row.version for row in rows],
        "digests": [row.body_digest.hex() for row in rows],
        "deletes": [row.deleted for row in rows],
    }


def _bury(connection: Connection, partition: WalPartition, poison: Sequence[Poison]) -> None:
    if not poison:
        return
    connection.execute(
        _BURY,
        {
            "topic": dead_letter_topic(partition.topic),
            "partition": partition.number,
            "offsets": [item.offset for item in poison],
            "raws": [item.raw.hex() for item in poison],
            "errors": [item.error for item in poison],
            "kinds": [item.kind for item in poison],
            "fingerprints": [item.fingerprint for item in poison],
        },
    )
    now = time.time()
    letters = [
        WalRecord(
            topic=dead_letter_topic(partition.topic),
            partition_key=f"{partition.number}:{item.offset}",
            dedupe_key=f"{partition.topic}:{partition.number}:{item.offset}",
            payload=dead_letter(item, partition.topic, now),
            headers={"type": "dead.letter"},
            tenant="",
            session_id=None,
        )
        for item in poison
    ]
    owe_records(connection, letters)

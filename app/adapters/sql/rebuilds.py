"""The table that grows beside the replica: rows and place move together, and at the end it becomes the replica.

A row keeps the id and the creation that it has in the replica, so that cursors and lists stay as they are.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2.errors
from sqlalchemy import Connection, CursorResult, Engine, text
from sqlalchemy.exc import DBAPIError

from app.adapters.sql.engine import transaction
from app.adapters.sql.rebuild_jobs import REBUILT, comparison_text, current_of, end, hold
from app.adapters.sql.rebuild_switch import compare, take_the_place
from app.adapters.sql.replica import NEW_ROWS, NEWER_WINS, columns_of
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.log import WalBatch
from app.domain.rebuild import Comparison, Rebuild, RebuildKind, RebuildState, Rest
from app.domain.wal import ReplicaRow, settle_versions
from app.routing import dead_letter_topic

_BEGUN = text("UPDATE memory_rebuilds SET state = 'reading', updated_at = now() WHERE id = :id AND state = 'queued'")
_MAKE = text(f"DROP TABLE IF EXISTS {REBUILT}; CREATE TABLE {REBUILT} (LIKE memory_replica INCLUDING ALL)")
_PLACES = text("SELECT partition, next_offset FROM memory_rebuild_offsets WHERE rebuild_id = :id")
_TARGETS = text("SELECT partition, next_offset FROM replicator_offsets WHERE topic = :topic")
_HELD_TARGETS = text("""
    SELECT partition, next_offset FROM replicator_offsets WHERE topic = :topic ORDER BY partition FOR UPDATE
""")
_FIRST_PLACE = text("""
    INSERT INTO memory_rebuild_offsets (rebuild_id, partition, next_offset) VALUES (:id, :partition, 0)
    ON CONFLICT DO NOTHING
""")
_ADVANCE = text("""
    UPDATE memory_rebuild_offsets SET next_offset = :next
    WHERE rebuild_id = :id AND partition = :partition AND next_offset = :start
""")
_COUNT = text("""
    UPDATE memory_rebuilds SET read = read + :offsets, poison = poison + :poison, updated_at = now() WHERE id = :id
""")
_TO_READ = text("UPDATE memory_rebuilds SET to_read = :to_read WHERE id = :id")
_BURIED = text("""
    SELECT source_offset FROM dlq_messages
    WHERE topic = :topic AND source_partition = :partition AND source_offset >= :start AND source_offset < :next
""")
_STORED = text(f"SELECT event_id, version, body_digest FROM {REBUILT} WHERE event_id = ANY(:event_ids)")  # noqa: S608
_UPSERT = text(f"""
    INSERT INTO {REBUILT} AS r (id, event_id, session_id, persona_id, tenant, role, universe, namespace, coord,
        request_id, trace_id, payload, wal_timestamp, version, body_digest, deleted_at, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT coalesce(old.id, nextval(pg_get_serial_sequence('memory_replica', 'id'))), new.event_id, new.session_id,
        new.persona_id, new.tenant, new.role, new.universe, new.namespace, CAST(new.coord AS double precision[]),
        new.request_id, new.trace_id, CAST(new.payload AS jsonb), new.wal_timestamp, new.version,
        decode(new.body_digest, 'hex'),
        CASE WHEN new.deleted THEN coalesce(old.deleted_at, to_timestamp(new.wal_timestamp)) END,
        coalesce(old.created_at, to_timestamp(new.wal_timestamp))
    FROM {NEW_ROWS} LEFT JOIN memory_replica old ON old.event_id = new.event_id
    {NEWER_WINS}
""")  # noqa: S608 - our own names
_SWITCHED = text("""
    UPDATE memory_rebuilds SET state = :state, comparison = CAST(:comparison AS jsonb), updated_at = now(),
           finished_at = CASE WHEN :state = 'completed' THEN now() END,
           to_remember = CASE WHEN :state = 'completed' THEN 0
                              ELSE (SELECT count(*) FROM memory_replica WHERE deleted_at IS NULL) END
    WHERE id = :id
""")
COMPARE_SECONDS = 600
"""The longest statement: at about 11 s for a million rows of one table, fifty million of them."""


class SqlRebuilds:
    """`RebuildStore` on Postgres. On `patient`, an engine, a statement may take minutes: comparing reads all rows."""

    def __init__(self, engine: Engine, patient: Engine, topic: str) -> None:
        self._engine = engine
        self._patient = patient
        self._topic = topic

    def current(self) -> Rebuild | None:
        """The one that is under way."""
        with transaction(self._engine) as connection:
            return current_of(connection)

    def begin(self, rebuild_id: str) -> None:
        """An empty table, with every index that the replica has."""
        with transaction(self._engine) as connection:
            if connection.execute(_BEGUN, {"id": rebuild_id}).rowcount:
                connection.execute(_MAKE)

    def places(self, rebuild_id: str) -> dict[int, int]:
        """How far the new table is."""
        with transaction(self._engine) as connection:
            return _places(connection.execute(_PLACES, {"id": rebuild_id}))

    def targets(self) -> dict[int, int]:
        """How far the replica is."""
        with transaction(self._engine) as connection:
            return _places(connection.execute(_TARGETS, {"topic": self._topic}))

    def store(self, rebuild: Rebuild, batch: WalBatch, good: Sequence[ReplicaRow], to_read: int) -> None:
        """Rows and place. What stands in the dead letters was judged, and stays out here as it does there."""
        with transaction(self._engine) as connection:
            hold(connection, rebuild, RebuildState.READING)
            self._keep(connection, rebuild, batch, good)
            connection.execute(_TO_READ, {"id": rebuild.id, "to_read": to_read})

    def _keep(self, connection: Connection, rebuild: Rebuild, batch: WalBatch, good: Sequence[ReplicaRow]) -> None:
        where = {
            "id": rebuild.id, "partition": batch.partition.number, "start": batch.start, "next": batch.end,
            "topic": dead_letter_topic(self._topic),
        }  # fmt: skip
        connection.execute(_FIRST_PLACE, where)
        if not connection.execute(_ADVANCE, where).rowcount:
            raise LeaseLost(f"another slice has read partition {batch.partition.number} further")
        buried = set(connection.execute(_BURIED, where).scalars())
        rows = [row for row in good if row.offset not in buried]
        poison = len(batch.records) - len(rows) + _upsert(connection, rows)
        connection.execute(_COUNT, {"id": rebuild.id, "offsets": batch.end - batch.start, "poison": poison})

    def settle(self) -> None:
        """Statistics: a table that was just filled has none."""
        with _unhurried(self._patient) as connection:
            connection.execute(text(f"ANALYZE {REBUILT}"))

    def switch(self, rebuild: Rebuild, rest: Rest) -> Comparison | None:
        """Whoever replicates waits for this transaction, and goes on in the new table by itself."""
        try:
            with _unhurried(self._patient) as connection:
                hold(connection, rebuild, RebuildState.READING)
                if not self._is_level(connection, rebuild, rest):
                    return None
                comparison = compare(connection, "memory_replica", REBUILT)
                take_the_place(connection, "memory_replica", REBUILT)
                _note_switch(connection, rebuild, comparison)
        except StoreUnavailable as error:
            if _somebody_reads(error):
                return None
            raise
        return comparison

    def _is_level(self, connection: Connection, rebuild: Rebuild, rest: Rest) -> bool:
        """From here to the end of the transaction the replica stands still, and the new table comes up to it."""
        held = _places(connection.execute(_HELD_TARGETS, {"topic": self._topic}))
        places = _places(connection.execute(_PLACES, {"id": rebuild.id}))
        for batch, good in rest(dict(places), held):
            self._keep(connection, rebuild, batch, good)
            places[batch.partition.number] = batch.end
        return all(places.get(number, 0) == offset for number, offset in held.items())

    def fail(self, rebuild: Rebuild, reason: str) -> None:
        """End it with words."""
        with transaction(self._engine) as connection:
            end(connection, rebuild.id, RebuildState.FAILED, reason)


@contextmanager
def _unhurried(engine: Engine) -> Iterator[Connection]:
    with transaction(engine) as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = '{COMPARE_SECONDS}s'"))
        yield connection


def _places(rows: CursorResult[Any]) -> dict[int, int]:
    return {row.partition: row.next_offset for row in rows}


def _upsert(connection: Connection, rows: Sequence[ReplicaRow]) -> int:
    """How many contradict what came before them."""
    if not rows:
        return 0
    known = connection.execute(_STORED, {"event_ids": [row.event_id for row in rows]}).mappings()
    stored = {row["event_id"]: (row["version"], bytes(row["body_digest"])) for row in known}
    winners, conflicts = settle_versions(rows, stored)
    if winners:
        connection.execute(_UPSERT, columns_of(winners))
    return len(conflicts)


def _note_switch(connection: Connection, rebuild: Rebuild, comparison: Comparison) -> None:
    brain = rebuild.kind is RebuildKind.BRAIN
    state = RebuildState.REMEMBERING if brain else RebuildState.COMPLETED
    connection.execute(_SWITCHED, {"id": rebuild.id, "state": state, "comparison": comparison_text(comparison)})


def _somebody_reads(error: StoreUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and isinstance(cause.orig, psycopg2.errors.LockNotAvailable)

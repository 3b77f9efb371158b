"""The ledger of memories: what is accepted and what is to be forgotten, each with what it makes us owe."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.request_keys import answer_key, take_key
from app.adapters.sql.rows import memory_of_row, owe_forgetting, owe_memories
from app.domain.conversation import Receipt, RequestKey
from app.domain.ledger import Acceptance, Accepted, Entry, Forgetting, Known, judge
from app.domain.memory import Memory, digest_of

_KNOWN = text("""
    SELECT l.event_id, l.tenant, l.digest, l.forgotten_at IS NOT NULL AS forgotten, o.state, o.last_error
    FROM memory_ledger l LEFT JOIN memory_write_outbox o ON o.event_id = l.event_id
    WHERE l.event_id = ANY(CAST(:event_ids AS text[]))
""")
_ENTRIES = text("""
    SELECT event_id, tenant, role, session_id, accepted_at, forgotten_at IS NOT NULL AS forgotten FROM memory_ledger
    WHERE event_id = ANY(CAST(:event_ids AS text[]))
""")
# The log may hold memories that other programs have written into it: whoever sees them may have them forgotten.
_ADOPT = text("""
    INSERT INTO memory_ledger (event_id, tenant, namespace, universe, session_id, persona_id, role, idempotency_key,
                               version, accepted_at)
    SELECT event_id, tenant, namespace, universe, session_id, persona_id, coalesce(role, ''),
           coalesce(payload ->> 'idempotency_key', ''), version, created_at
    FROM memory_replica WHERE event_id = :event_id AND tenant = :tenant AND deleted_at IS NULL
    ON CONFLICT (event_id) DO NOTHING
""")
_FORGET = text("""
    UPDATE memory_ledger SET version = version + 1, forgotten_at = now()
    WHERE event_id = :event_id AND tenant = :tenant AND forgotten_at IS NULL
    RETURNING *
""")
_FORGOTTEN = text("""
    SELECT l.*, coalesce(o.state, 'synced') = 'synced' AS done FROM memory_ledger l
    LEFT JOIN memory_write_outbox o ON o.event_id = l.event_id
    WHERE l.event_id = :event_id AND l.tenant = :tenant AND l.forgotten_at IS NOT NULL
""")


class SqlLedger:
    """`Ledger` on Postgres. `call_seconds` is the longest time that one call to SomaBrain may take."""

    def __init__(self, engine: Engine, wal_topic: str, call_seconds: float) -> None:
        self._engine = engine
        self._wal_topic = wal_topic
        self._call_seconds = call_seconds

    def accept(self, memories: Sequence[Memory], key: RequestKey | None = None) -> Accepted:
        """Keep and owe those that are new; of two under one id the first counts."""
        return resolved(lambda _: self._accept(memories, key))

    def _accept(self, memories: Sequence[Memory], key: RequestKey | None) -> Accepted:
        offered = {memory.event_id: memory for memory in reversed(memories)}
        with transaction(self._engine) as connection:
            replayed = key is not None and take_key(connection, key) is not None
            new = owe_memories(connection, list(offered.values())) if not replayed else set()
            known = _known(connection, offered.keys() - new)
            if key is not None and not replayed:
                answer_key(connection, key, Receipt("", ""))
        # Whoever repeats what is new in this very offer has said it before.
        known |= {event_id: _just_kept(offered[event_id]) for event_id in new}
        return Accepted([_judge(memory, new, known) for memory in memories], replayed)

    def forget(self, event_id: str, tenant: str) -> Forgetting | None:
        """Mark it, owe the forgetting and the record."""
        return resolved(lambda _: self._forget(event_id, tenant))

    def _forget(self, event_id: str, tenant: str) -> Forgetting | None:
        wish = {"event_id": event_id, "tenant": tenant}
        with transaction(self._engine) as connection:
            connection.execute(_ADOPT, wish)
            row = connection.execute(_FORGET, wish).mappings().one_or_none()
            if row is None:
                return _as_it_stands(connection.execute(_FORGOTTEN, wish).mappings().one_or_none())
            memory = memory_of_row(row)
            owe_forgetting(connection, memory, self._wal_topic, self._call_seconds)
            return Forgetting(memory, done=False)

    def entries(self, event_ids: Sequence[str]) -> dict[str, Entry]:
        """The lines of these ids."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_ENTRIES, {"event_ids": list(event_ids)}).mappings().all()
        return {row["event_id"]: Entry(**{name: row[name] for name in _ENTRY_FIELDS}) for row in rows}


_ENTRY_FIELDS = ("tenant", "role", "session_id", "accepted_at", "forgotten")


def _known(connection: Connection, event_ids: Collection[str]) -> dict[str, Known]:
    rows = connection.execute(_KNOWN, {"event_ids": list(event_ids)}).mappings()
    return {
        row["event_id"]: Known(
            row["tenant"],
            None if row["digest"] is None else bytes(row["digest"]),
            row["forgotten"],
            row["state"],
            row["last_error"],
        )
        for row in rows
    }


def _just_kept(memory: Memory) -> Known:
    return Known(memory.place.tenant, digest_of(memory.payload), forgotten=False, state="pending")


def _judge(memory: Memory, new: set[str], known: dict[str, Known]) -> Acceptance:
    """How this one stands; the first under a new id takes the id out of `new`."""
    digest = digest_of(memory.payload)
    if memory.event_id in new:
        new.discard(memory.event_id)
        return judge(memory, digest, None)
    return judge(memory, digest, known.get(memory.event_id))


def _as_it_stands(row: RowMapping | None) -> Forgetting | None:
    return None if row is None else Forgetting(memory_of_row(row), row["done"])

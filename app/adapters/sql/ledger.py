"""The ledger of memories: what is accepted and what is to be forgotten, each with what it makes us owe."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.request_keys import answer_key, take_key
from app.adapters.sql.rows import memory_of_row, owe_forgetting, owe_memories
from app.domain.conversation import Receipt, RequestKey
from app.domain.ledger import Acceptance, Accepted, Entry, Forgetting, Known, Standing, judge
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


@dataclass(frozen=True, slots=True)
class _Offer:
    """One call of `accept`: memories with their digests. When a COMMIT goes unheard, its `id`, kept with the key, and
    what was `noted` by then tell the next try what it has kept itself.
    """

    said: Sequence[tuple[Memory, bytes]]
    key: RequestKey | None
    id: str = field(default_factory=lambda: uuid4().hex)
    noted: set[str] = field(default_factory=set)

    def owe(self, connection: Connection) -> set[str]:
        """Note and owe what nobody has used before; those ids."""
        firsts = {memory.event_id: (memory, digest) for memory, digest in reversed(self.said)}.values()
        owed = owe_memories(connection, [memory for memory, _ in firsts], [digest for _, digest in firsts])
        self.noted.update(owed)
        return owed

    def repeated(self, owed: Collection[str]) -> list[str]:
        """The ids that were used before this try `owed` its own, or are used twice in this offer."""
        times = Counter(memory.event_id for memory, _ in self.said)
        return [event_id for event_id, number in times.items() if number > 1 or event_id not in owed]


class SqlLedger:
    """`Ledger` on Postgres. `call_seconds` is the longest time that one call to SomaBrain may take."""

    def __init__(self, engine: Engine, wal_topic: str, call_seconds: float) -> None:
        self._engine = engine
        self._wal_topic = wal_topic
        self._call_seconds = call_seconds

    def accept(self, memories: Sequence[Memory], key: RequestKey | None = None) -> Accepted:
        """Keep and owe those that are new; of two under one id the first counts."""
        offer = _Offer([(memory, digest_of(memory.payload)) for memory in memories], key)
        return resolved(lambda _: self._accept(offer))

    def _accept(self, offer: _Offer) -> Accepted:
        with transaction(self._engine) as connection:
            replayed = _is_replay(connection, offer)
            owed = set() if replayed else offer.owe(connection)
            known = _known(connection, offer.repeated(owed))
        return Accepted(_judged(offer, frozenset() if replayed else offer.noted, known), replayed)

    def forget(self, event_id: str, tenant: str) -> Forgetting | None:
        """Mark it, owe the forgetting and the record."""
        return resolved(lambda _: self._forget(event_id, tenant))

    def _forget(self, event_id: str, tenant: str) -> Forgetting | None:
        wish = {"event_id": event_id, "tenant": tenant}
        with transaction(self._engine) as connection:
            row = _marked(connection, wish)
            if row is None:
                connection.execute(_ADOPT, wish)
                row = _marked(connection, wish)
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


def _is_replay(connection: Connection, offer: _Offer) -> bool:
    """Whether the key was answered before, other than by an unheard COMMIT of this offer; if not, it is ours now."""
    if offer.key is None:
        return False
    first = take_key(connection, offer.key)
    if first is None:
        answer_key(connection, offer.key, Receipt("", offer.id))
    return first is not None and first.event_id != offer.id


def _known(connection: Connection, event_ids: Sequence[str]) -> dict[str, Known]:
    if not event_ids:
        return {}
    rows = connection.execute(_KNOWN, {"event_ids": event_ids}).mappings()
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


def _judged(offer: _Offer, ours: Collection[str], known: Mapping[str, Known]) -> list[Acceptance]:
    """How each stands; the first under an id that is `ours`, and says what was offered, is new."""
    judged, new = [], set(ours)
    for memory, digest in offer.said:
        found = judge(memory, digest, known.get(memory.event_id))
        # After an unheard COMMIT without a key only the content tells whether it happened, or another came first.
        if memory.event_id in new and found.standing in _AS_OFFERED:
            found = judge(memory, digest, None)
        new.discard(memory.event_id)
        judged.append(found)
    return judged


_AS_OFFERED = frozenset({Standing.NEW, Standing.WAITING, Standing.REMEMBERED})


def _marked(connection: Connection, wish: Mapping[str, str]) -> RowMapping | None:
    return connection.execute(_FORGET, wish).mappings().one_or_none()


def _as_it_stands(row: RowMapping | None) -> Forgetting | None:
    return None if row is None else Forgetting(memory_of_row(row), row["done"])

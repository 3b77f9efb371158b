"""The books of a proof: ledger, replica, and what was laid down of every store, walked page by page."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json
from app.domain.memory import Place, digest_of
from app.domain.proof import Case, Copy, Pledge, Store
from app.domain.proof_copies import text_in
from app.domain.proof_ports import ProofJob, ReplicaPage, StrangerPage

_COUNTED_EXACTLY = 1_000_000
_COUNTS = text(f"""
    SELECT (SELECT count(*) FROM (SELECT 1 FROM memory_ledger WHERE tenant = coalesce(CAST(:tenant AS text), tenant)
                                  LIMIT {_COUNTED_EXACTLY}) counted) AS lines,
           (SELECT reltuples::bigint FROM pg_class WHERE oid = 'memory_ledger'::regclass) AS about,
           coalesce((SELECT max(id) FROM memory_replica), 0) AS highest
""")  # noqa: S608
_REPLICA = text("""
    SELECT id, event_id, tenant, namespace, universe, session_id, role, version, payload,
           deleted_at IS NOT NULL AS deleted
    FROM memory_replica WHERE id > :after ORDER BY id LIMIT :limit
""")
_TENANT = text("""
    SELECT min(tenant) FROM (
        (SELECT tenant FROM memory_ledger WHERE tenant > :after ORDER BY tenant LIMIT 1) UNION ALL
        (SELECT tenant FROM reconcile_seen WHERE tenant > :after ORDER BY tenant LIMIT 1)) found
""")
# A record is on its way until the replica has stored it; what came to its end while we looked may have been missed.
_RECORD_MOVES = "(r.state = 'pending' OR r.finished_at >= :began_at)"
_REPLICA_MOVES = f"""({_RECORD_MOVES} OR r.state = 'sent' AND r.sent_offset
    >= coalesce((CAST(:replicated AS jsonb) ->> r.sent_partition::text)::bigint, 0))"""
_CASES = """
    SELECT l.*, l.accepted_at >= :began_at OR coalesce(l.forgotten_at >= :began_at, false) AS fresh,
           coalesce(o.state = 'pending' OR o.finished_at >= :began_at, false) AS row_moves,
           coalesce(o.op = 'remember', true) AS to_remember, coalesce(o.state = 'discarded', false) AS row_given_up,
           coalesce({record}, false) AS record_moves, coalesce({replica}, false) AS replica_moves,
           coalesce(r.state = 'discarded', false) AS record_given_up
    FROM memory_ledger l
    LEFT JOIN memory_write_outbox o ON o.event_id = l.event_id
    LEFT JOIN message_outbox r ON r.topic = :topic AND r.dedupe_key = l.event_id || ':' || l.version
    WHERE {behind} ORDER BY l.tenant, l.event_id COLLATE "C" LIMIT :limit
"""
_MOVES = {"record": _RECORD_MOVES, "replica": _REPLICA_MOVES}
_ALL_CASES = text(_CASES.format(**_MOVES, behind='(l.tenant, l.event_id COLLATE "C") > (:tenant, :event_id)'))
_CASES_OF_ONE = text(_CASES.format(**_MOVES, behind='l.tenant = :only AND l.event_id COLLATE "C" > :event_id'))
_SEEN = text("SELECT * FROM reconcile_seen WHERE event_id = ANY(CAST(:event_ids AS text[])) ORDER BY store, spot")
_STRANGERS = text(f"""
    WITH page AS MATERIALIZED (
        SELECT * FROM reconcile_seen WHERE (event_id, store, spot) > (:event_id, :store, :spot)
        ORDER BY event_id, store, spot LIMIT :limit),
    strange AS MATERIALIZED (
        SELECT p.* FROM page p WHERE p.store <> 'mark' AND p.tenant = coalesce(CAST(:only AS text), p.tenant)
          AND NOT EXISTS (SELECT 1 FROM memory_ledger l WHERE l.event_id = p.event_id))
    SELECT s.*, o.event_id AS o_event_id, o.tenant AS o_tenant, o.namespace AS o_namespace, o.universe AS o_universe,
           o.digest AS o_digest
    FROM strange s LEFT JOIN memory_ledger o ON o.event_id = s.named AND o.event_id <> s.event_id
    WHERE NOT (s.store <> 'brain' AND EXISTS (
        SELECT 1 FROM (SELECT max(x.version) AS version FROM reconcile_seen x WHERE x.event_id = s.event_id) most
        JOIN message_outbox r ON r.topic = :topic
         AND r.dedupe_key IN (s.event_id || ':' || most.version, s.event_id || ':' || (most.version + 1))
        WHERE {_REPLICA_MOVES}))
    ORDER BY s.event_id, s.store, s.spot
""")  # noqa: S608
_PAGE_END = text("""
    SELECT event_id, store, spot FROM (
        SELECT event_id, store, spot FROM reconcile_seen WHERE (event_id, store, spot) > (:event_id, :store, :spot)
        ORDER BY event_id, store, spot LIMIT :limit) page
    ORDER BY event_id DESC, store DESC, spot DESC LIMIT 1
""")


class SqlProofBooks:
    """`ProofBooks` on Postgres."""

    def __init__(self, engine: Engine, wal_topic: str) -> None:
        self._engine = engine
        self._wal_topic = wal_topic

    def counts(self, tenant: str | None) -> tuple[int, int]:
        """Exact up to a million lines."""
        with transaction(self._engine) as connection:
            row = connection.execute(_COUNTS, {"tenant": tenant}).one()
        return (row.lines if row.lines < _COUNTED_EXACTLY else max(row.about, row.lines), row.highest)

    def replica_page(self, after: int, limit: int) -> ReplicaPage:
        """By id."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_REPLICA, {"after": after, "limit": limit}).mappings().all()
        return ReplicaPage(tuple(_replica_copy(row) for row in rows), rows[-1]["id"] if rows else None)

    def next_tenant(self, after: str) -> str | None:
        """In the database's order."""
        with transaction(self._engine) as connection:
            found: str | None = connection.execute(_TENANT, {"after": after}).scalar_one()
        return found

    def cases(self, job: ProofJob, after: tuple[str, str], limit: int) -> list[Case]:
        """In the order of the ledger."""
        asked = {**self._when(job), "limit": limit, "event_id": after[1]}
        only = job.wish.tenant
        asked |= {"tenant": after[0]} if only is None else {"only": only}
        with transaction(self._engine) as connection:
            lines = connection.execute(_ALL_CASES if only is None else _CASES_OF_ONE, asked).mappings().all()
            copies = _seen(connection, [line["event_id"] for line in lines])
        return [_case(line, copies[line["event_id"]]) for line in lines]

    def strangers(self, job: ProofJob, after: tuple[str, str, str], limit: int) -> StrangerPage:
        """In the order of what was laid down."""
        place = {**dict(zip(("event_id", "store", "spot"), after, strict=True)), "limit": limit}
        asked = {**self._when(job), **place, "only": job.wish.tenant}
        with transaction(self._engine) as connection:
            end = connection.execute(_PAGE_END, place).one_or_none()
            rows = connection.execute(_STRANGERS, asked).mappings().all()
        strangers = tuple((_copy(row), _original(row)) for row in rows)
        return StrangerPage(strangers, None if end is None else (end.event_id, end.store, end.spot))

    def _when(self, job: ProofJob) -> dict[str, Any]:
        replicated = as_json(job.place["replicated"])
        return {"began_at": job.began_at, "topic": self._wal_topic, "replicated": replicated}


def _seen(connection: Connection, event_ids: Sequence[str]) -> dict[str, list[Copy]]:
    found: dict[str, list[Copy]] = defaultdict(list)
    for row in connection.execute(_SEEN, {"event_ids": list(event_ids)}).mappings():
        found[row["event_id"]].append(_copy(row))
    return found


def _case(line: RowMapping, copies: Sequence[Copy]) -> Case:
    return Case(_pledge(line), tuple(copies), _moving(line), _given_up(line))


def _pledge(line: RowMapping) -> Pledge:
    return Pledge(
        event_id=line["event_id"],
        place=Place(line["tenant"], line["namespace"], line["universe"]),
        session_id=line["session_id"] or "",
        role=line["role"],
        idempotency_key=line["idempotency_key"],
        digest=_bytes(line["digest"]),
        version=line["version"],
        forgotten=line["forgotten_at"] is not None,
    )


def _moving(line: RowMapping) -> frozenset[Store]:
    if line["fresh"] or (line["row_moves"] and line["to_remember"]):
        return frozenset(Store)
    # A forgetting owes its record at once: it does not wait for SomaBrain.
    moving = {Store.BRAIN: line["row_moves"], Store.WAL: line["record_moves"], Store.REPLICA: line["replica_moves"]}
    return frozenset(store for store, moves in moving.items() if moves)


def _given_up(line: RowMapping) -> frozenset[Store]:
    if line["row_given_up"] and line["to_remember"]:
        return frozenset(Store)
    given_up = {Store.BRAIN} if line["row_given_up"] else set()
    return frozenset(given_up | ({Store.WAL, Store.REPLICA} if line["record_given_up"] else set()))


def _original(row: RowMapping) -> Pledge | None:
    if row["o_event_id"] is None:
        return None
    place = Place(row["o_tenant"], row["o_namespace"], row["o_universe"])
    return Pledge(row["o_event_id"], place, "", "", "", _bytes(row["o_digest"]))


def _copy(row: RowMapping) -> Copy:
    return Copy(
        store=Store(row["store"]),
        event_id=row["event_id"],
        place=Place(row["tenant"], row["namespace"], row["universe"]),
        digest=_bytes(row["digest"]),
        version=row["version"],
        deleted=row["deleted"],
        session_id=row["session_id"],
        role=row["role"],
        idempotency_key=row["idempotency_key"],
        universe_inside=row["universe_inside"],
        named=row["named"],
        contradicted=row["contradicted"],
        locator=row["locator"],
    )


def _replica_copy(row: RowMapping) -> Copy:
    payload = row["payload"] or {}
    return Copy(
        store=Store.REPLICA,
        event_id=row["event_id"],
        place=Place(row["tenant"], row["namespace"], row["universe"]),
        digest=None if row["payload"] is None else digest_of(payload),
        version=row["version"],
        deleted=row["deleted"],
        session_id=row["session_id"] or "",
        role=row["role"] or "",
        idempotency_key=text_in(payload, "idempotency_key"),
        named=text_in(payload, "id"),
    )


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)

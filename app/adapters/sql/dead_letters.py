"""The dead letters as the desk sees them: counted by group, listed, sent again, thrown away.

However many there are, no statement reads more of them than it is asked for: groups are counted in an index, and
only the first and the last letter of each are looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.audit import write_audit
from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import owe_records
from app.domain.audit import AuditEntry
from app.domain.dead_letters import Choice, DeadLetter, LetterGroup, Replay, TopicDepth, spread
from app.domain.wal import MAX_LETTER_BYTES

_GROUPS = text("""
    WITH counted AS (
        SELECT topic, fingerprint, count(*) AS count, min(id) AS first, max(id) AS last
        FROM dlq_messages WHERE state = 'open' GROUP BY topic, fingerprint),
    ranked AS (
        SELECT *, sum(count) OVER whole AS depth, count(*) OVER whole AS group_count,
               row_number() OVER (PARTITION BY topic ORDER BY count DESC, first) AS place
        FROM counted WINDOW whole AS (PARTITION BY topic))
    SELECT ranked.topic, ranked.depth::bigint, ranked.group_count, ranked.fingerprint, ranked.count,
           oldest.error_kind, oldest.error, oldest.created_at AS oldest, newest.created_at AS newest
    FROM ranked JOIN dlq_messages oldest ON oldest.id = ranked.first JOIN dlq_messages newest ON newest.id = ranked.last
    WHERE ranked.place <= :groups ORDER BY ranked.topic, ranked.place
""")
_KNOWS = text("SELECT EXISTS (SELECT 1 FROM dlq_messages WHERE topic = :topic)")
_STATES = text("SELECT id, state FROM dlq_messages WHERE topic = :topic AND id = ANY(CAST(:ids AS bigint[]))")
_NEWEST = text("SELECT coalesce(max(id), 0) FROM dlq_messages WHERE topic = :topic AND state = 'open'")
_VERSIONS = text("""
    SELECT event_id, version, body_digest FROM memory_replica WHERE event_id = ANY(CAST(:event_ids AS text[]))
""")
_WHOLE = text("""
    SELECT id, topic, coalesce(raw, '') AS raw, coalesce(octet_length(raw), 0) AS size, error, error_kind, fingerprint,
           state, created_at
    FROM dlq_messages WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id
""")
# Locked in the order of their ids, so that two people at the same letters wait for one another and nobody deadlocks.
_REPLAYED = text("""
    WITH chosen AS (
        SELECT id FROM dlq_messages WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'open' ORDER BY id FOR UPDATE)
    UPDATE dlq_messages d SET state = 'replayed', settled_at = now() FROM chosen WHERE d.id = chosen.id RETURNING d.id
""")
_LAST_DUE = text("""
    SELECT extract(epoch FROM run_at - now())::float FROM message_outbox
    WHERE state = 'pending' AND topic = :topic AND starts_with(dedupe_key, 'replay:') ORDER BY run_at DESC LIMIT 1
""")


class SqlDeadLetters:
    """`DeadLetters` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def topics(self, groups: int) -> list[TopicDepth]:
        """Topics by name, groups by size."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_GROUPS, {"groups": groups}).mappings().all()
        return [_topic(list(found)) for _, found in groupby(rows, lambda row: row["topic"])]

    def knows(self, topic: str) -> bool:
        """Whether there is a letter of this topic in any state."""
        return bool(self._one(_KNOWS, topic=topic))

    def newest_open(self, topic: str) -> int:
        """What comes after this id has come later."""
        return int(self._one(_NEWEST, topic=topic))

    def page(
        self, topic: str, fingerprint: str | None, state: str | None, before: int | None, limit: int
    ) -> list[DeadLetter]:
        """Newest first, below the id `before`."""
        found = {"fingerprint": fingerprint, "state": state, "before": before}
        conditions = {"fingerprint": "fingerprint = :fingerprint", "state": "state = :state", "before": "id < :before"}
        wanted = ["topic = :topic", *(conditions[name] for name, value in found.items() if value is not None)]
        statement = f"""
            SELECT id, topic, substring(coalesce(raw, '') FROM 1 FOR {MAX_LETTER_BYTES}) AS raw,
                   coalesce(octet_length(raw), 0) AS size, error, error_kind, fingerprint, state, created_at
            FROM dlq_messages WHERE {" AND ".join(wanted)} ORDER BY id DESC LIMIT :limit"""  # noqa: S608
        with transaction(self._engine) as connection:
            rows = connection.execute(text(statement), {**found, "topic": topic, "limit": limit}).mappings()
            return [_letter(row) for row in rows]

    def states(self, topic: str, ids: Sequence[int]) -> dict[int, str]:
        """By id."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_STATES, {"topic": topic, "ids": list(ids)}).mappings()
            return {row["id"]: row["state"] for row in rows}

    def take_open(self, choice: Choice, limit: int, max_bytes: int) -> list[DeadLetter]:
        """Their sizes are asked for first, so that a thousand letters of a megabyte are never in memory at once."""
        statement = f"""
            SELECT id, coalesce(octet_length(raw), 0) AS size FROM dlq_messages
            WHERE {_chosen(choice)} ORDER BY id LIMIT :limit"""  # noqa: S608
        with transaction(self._engine) as connection:
            sizes = connection.execute(text(statement), {**_values(choice), "limit": limit}).all()
            rows = connection.execute(_WHOLE, {"ids": _within(sizes, max_bytes)}).mappings()
            return [_letter(row) for row in rows]

    def count_open(self, choice: Choice) -> int:
        """Counted in an index."""
        return int(self._one(text(f"SELECT count(*) FROM dlq_messages WHERE {_chosen(choice)}"), **_values(choice)))  # noqa: S608

    def versions(self, event_ids: Sequence[str]) -> Mapping[str, tuple[int, bytes]]:
        """As the replicator asks."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_VERSIONS, {"event_ids": list(event_ids)}).mappings()
            return {row["event_id"]: (row["version"], bytes(row["body_digest"])) for row in rows}

    def replay(self, replays: Sequence[Replay], per_second: float | None, entry: AuditEntry) -> list[int]:
        """The letters that were still open; for the others nothing happens."""
        with transaction(self._engine) as connection:
            ids = [replay.letter_id for replay in replays]
            ours = set(connection.execute(_REPLAYED, {"ids": ids}).scalars())
            done = [replay for replay in replays if replay.letter_id in ours]
            if done:
                _owe(connection, done, per_second)
                write_audit(connection, entry.having(count=len(done), ids=sorted(ours)))
            return [replay.letter_id for replay in done]

    def discard(self, choice: Choice, limit: int, entry: AuditEntry) -> int:
        """The oldest of the chosen ones."""
        statement = f"""
            WITH chosen AS (SELECT id FROM dlq_messages WHERE {_chosen(choice)} ORDER BY id LIMIT :limit FOR UPDATE)
            UPDATE dlq_messages d SET state = 'discarded', settled_at = now() FROM chosen WHERE d.id = chosen.id"""  # noqa: S608
        with transaction(self._engine) as connection:
            count = connection.execute(text(statement), {**_values(choice), "limit": limit}).rowcount
            if count:
                write_audit(connection, entry.having(count=count))
            return count

    def _one(self, statement: Any, **values: Any) -> Any:
        with transaction(self._engine) as connection:
            return connection.execute(statement, values).scalar_one()


def _topic(rows: Sequence[RowMapping]) -> TopicDepth:
    groups = tuple(
        LetterGroup(row["fingerprint"], row["error_kind"], row["error"], row["count"], row["oldest"], row["newest"])
        for row in rows
    )
    return TopicDepth(rows[0]["topic"], rows[0]["depth"], rows[0]["group_count"], groups)


def _letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(**{**row, "raw": bytes(row["raw"])})


def _chosen(choice: Choice) -> str:
    conditions = ["topic = :topic", "state = 'open'", "id > :after"]
    if choice.fingerprint is not None:
        conditions.append("fingerprint = :fingerprint")
    if choice.ids is not None:
        conditions.append("id = ANY(CAST(:ids AS bigint[]))")
    if choice.upto is not None:
        conditions.append("id <= :upto")
    return " AND ".join(conditions)


def _values(choice: Choice) -> dict[str, Any]:
    return {
        "topic": choice.topic,
        "after": choice.after,
        "fingerprint": choice.fingerprint,
        "ids": list(choice.ids or ()),
        "upto": choice.upto,
    }


def _within(sizes: Iterable[Any], max_bytes: int) -> list[int]:
    ids: list[int] = []
    for letter_id, size in sizes:
        max_bytes -= size
        if ids and max_bytes < 0:
            break
        ids.append(letter_id)
    return ids


def _owe(connection: Connection, done: Sequence[Replay], per_second: float | None) -> None:
    last = None
    if per_second is not None:
        last = connection.execute(_LAST_DUE, {"topic": done[0].record.topic}).scalar_one_or_none()
    owe_records(connection, [replay.record for replay in done], spread(len(done), per_second, last))

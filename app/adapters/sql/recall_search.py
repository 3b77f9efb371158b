"""Memories by their words, where SomaBrain does not have them yet or is away: what is owed, and the replica.

Candidates come from an index: some that hold all words of the question and some for each of its words, so that a
rare word finds its memories among a million with the common ones. The best of them are chosen here.
"""

from sqlalchemy import Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.domain.finding import Found, Source, share_of
from app.domain.recall import Question

_MOST_WORDS = 12
_WITH_ALL, _PER_WORD = 100, 60

_COLUMNS = "m.event_id, memory_text(m.payload) AS said, m.role, m.session_id, m.created_at"
_HERE = """m.tenant = :tenant AND m.namespace = :namespace AND m.universe = :universe
          AND (CAST(:session_id AS text) IS NULL OR m.session_id = :session_id)"""
# The longest words of a long question say the most. An empty question finds no candidate.
_SEARCH = f"""
    WITH asked AS MATERIALIZED (
        SELECT word FROM unnest(tsvector_to_array(memory_words(:query))) AS word
        ORDER BY length(word) DESC, word LIMIT {_MOST_WORDS}
    ), wanted AS (
        SELECT plainto_tsquery('simple', string_agg(word, ' ')) AS query, {_WITH_ALL} AS most FROM asked
        UNION
        SELECT plainto_tsquery('simple', word), {_PER_WORD} FROM asked
    ), candidates AS (
        SELECT event_id, said, role, session_id, created_at, words
        FROM wanted CROSS JOIN LATERAL (
            SELECT {_COLUMNS}, {{words}} AS words FROM {{table}} m
            WHERE {{words}} @@ wanted.query AND {_HERE} AND {{alive}}
            LIMIT wanted.most) AS indexed
        {{besides}}
    )
    SELECT DISTINCT ON (event_id) event_id, said, role, session_id, created_at, tsvector_to_array(words) AS words,
           ARRAY(SELECT word FROM asked) AS asked
    FROM candidates
"""  # noqa: S608
_WAITING_WORDS = "memory_words(memory_text(m.payload))"
# What a worker has in hand has left the index, and is little: it is read row by row, in the same statement, for it may
# be taken or given back at any moment.
_IN_HAND = f"""
        UNION ALL
        SELECT {_COLUMNS}, words FROM memory_write_outbox m CROSS JOIN LATERAL {_WAITING_WORDS} AS words
        WHERE m.lease_owner IS NOT NULL AND m.state = 'pending' AND m.op = 'remember' AND {_HERE}
          AND tsvector_to_array(words) && ARRAY(SELECT word FROM asked)
"""  # noqa: S608
_PENDING = text(
    _SEARCH.format(
        table="memory_write_outbox",
        words=_WAITING_WORDS,
        alive="m.state = 'pending' AND m.op = 'remember' AND m.lease_owner IS NULL",
        besides=_IN_HAND,
    )
)
# The ledger knows of a forgetting before the replica does.
_REPLICA = text(
    _SEARCH.format(
        table="memory_replica",
        words="m.words",
        alive="m.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM memory_ledger l"
        " WHERE l.event_id = m.event_id AND l.forgotten_at IS NOT NULL)",
        besides="",
    )
)


class SqlMemorySearch:
    """`MemorySearch` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pending(self, question: Question) -> list[Found]:
        """Among what SomaBrain has not confirmed."""
        return self._search(question, Source.PENDING)

    def replica(self, question: Question) -> list[Found]:
        """Among what the log has brought."""
        return self._search(question, Source.REPLICA)

    def _search(self, question: Question, source: Source) -> list[Found]:
        place = question.place
        asked = {
            "tenant": place.tenant,
            "namespace": place.namespace,
            "universe": place.universe,
            "session_id": question.session_id,
            "query": question.query,
        }
        statement = _PENDING if source is Source.PENDING else _REPLICA
        with transaction(self._engine) as connection:
            rows = connection.execute(statement, asked).mappings().all()
        found = [_found(row, source) for row in rows]
        return sorted(found, key=lambda each: -each.score)[: question.top_k]


def _found(row: RowMapping, source: Source) -> Found:
    return Found(
        event_id=row["event_id"],
        content=row["said"],
        score=share_of(row["asked"], row["words"]),
        role=row["role"],
        session_id=row["session_id"],
        source=source,
        created_at=row["created_at"],
    )

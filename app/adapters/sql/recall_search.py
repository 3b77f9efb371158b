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

_WORDS = text("SELECT unnest(tsvector_to_array(memory_words(:query))) AS word")
_COLUMNS = "m.event_id, memory_text(m.payload) AS said, m.role, m.session_id, m.created_at"
_HERE = """m.tenant = :tenant AND m.namespace = :namespace AND m.universe = :universe
          AND (CAST(:session_id AS text) IS NULL OR m.session_id = :session_id)"""
_SEARCH = f"""
    WITH wanted AS (
        SELECT plainto_tsquery('simple', string_agg(word, ' ')) AS query, {_WITH_ALL} AS most
        FROM unnest(CAST(:words AS text[])) AS asked (word)
        UNION
        SELECT plainto_tsquery('simple', word), {_PER_WORD} FROM unnest(CAST(:words AS text[])) AS asked (word)
    ), candidates AS (
        SELECT event_id, said, role, session_id, created_at, words
        FROM wanted CROSS JOIN LATERAL (
            SELECT {_COLUMNS}, {{words}} AS words FROM {{table}} m
            WHERE {{words}} @@ wanted.query AND {_HERE} AND {{alive}}
            LIMIT wanted.most) AS indexed
        {{besides}}
    )
    SELECT DISTINCT ON (event_id) event_id, said, role, session_id, created_at, tsvector_to_array(words) AS words
    FROM candidates
"""  # noqa: S608
_WAITING_WORDS = "memory_words(memory_text(m.payload))"
# What a worker has in hand has left the index, and is little: it is read row by row, in the same statement, for it may
# be taken or given back at any moment.
_IN_HAND = f"""
        UNION ALL
        SELECT {_COLUMNS}, words FROM memory_write_outbox m CROSS JOIN LATERAL {_WAITING_WORDS} AS words
        WHERE m.lease_owner IS NOT NULL AND m.state = 'pending' AND m.op = 'remember' AND {_HERE}
          AND tsvector_to_array(words) && CAST(:words AS text[])
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
        }
        with transaction(self._engine) as connection:
            words = _telling(list(connection.execute(_WORDS, {"query": question.query}).scalars()))
            if not words:
                return []
            statement = _PENDING if source is Source.PENDING else _REPLICA
            rows = connection.execute(statement, {**asked, "words": words}).mappings().all()
        found = [_found(row, words, source) for row in rows]
        return sorted(found, key=lambda each: -each.score)[: question.top_k]


def _telling(words: list[str]) -> list[str]:
    """The longest words of a long question: they say the most."""
    return sorted(words, key=len, reverse=True)[:_MOST_WORDS]


def _found(row: RowMapping, words: list[str], source: Source) -> Found:
    return Found(
        event_id=row["event_id"],
        content=row["said"],
        score=share_of(words, row["words"]),
        role=row["role"],
        session_id=row["session_id"],
        source=source,
        created_at=row["created_at"],
    )

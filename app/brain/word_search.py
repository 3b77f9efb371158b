"""Recall by words: candidates from one index, scored by how much of the question they hold.

A score is the mean over the question's words: 1 for the word itself, 0.9 for its stem, 0.6 for a near-spelling.
Among equals the newest comes first. Words that say nothing (the, what, is) count only where there are no others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, text

from app.brain.bodies import Recall
from app.brain.found import Found, narrowing, place_and_limits
from app.brain.words import place_lexeme, skeleton_of

_MOST_TERMS = 12
_CANDIDATES_WITH_ALL = 60
_CANDIDATES_PER_TERM = 40
_GRADES = (1.0, 0.9, 0.6)

_STEMS = text("""
    SELECT word, (ts_lexize('english_stem', word))[1] AS stem
    FROM unnest(CAST(:words AS text[])) WITH ORDINALITY AS asked (word, place) ORDER BY place
""")
_COMMON = text("""
    SELECT lexeme FROM pg_stats, unnest(CAST(CAST(most_common_elems AS text) AS text[])) AS lexeme
    WHERE schemaname = 'brain' AND tablename = 'memories' AND attname = 'words'
      AND lexeme = ANY(CAST(:lexemes AS text[]))
""")
# The newest with a common word are found soon on the way from the newest to the oldest, those with a rare one through
# the index of words. Postgres takes words that it knows nothing of for fairly common, and would then go all the way.
_BY_AGE, _BY_INDEX = "written_at", "written_at + interval '0'"
_CANDIDATES = """
    (SELECT key FROM brain.memories
     WHERE tenant = :tenant AND namespace = :namespace AND universe = :universe AND words @@ CAST(:query_{n} AS tsquery)
       AND {filters}
     ORDER BY {order} DESC LIMIT {limit})
"""
_MATCHES = """
    WITH found AS ({candidates})
    SELECT m.key, m.written_at,
           ARRAY(SELECT lexeme FROM unnest(m.words) WHERE lexeme = ANY(CAST(:lexemes AS text[]))) AS matched
    FROM found JOIN brain.memories m
      ON m.tenant = :tenant AND m.namespace = :namespace AND m.universe = :universe AND m.key = found.key
"""


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a question with what else it may be found by, best first."""

    word: str
    stem: str | None
    skeleton: str | None
    common: bool = False
    """Whether Postgres knows the word or its stem as common."""
    commonly_alike: bool = False
    """Whether it knows any of its forms as common."""

    @property
    def forms(self) -> tuple[str | None, str | None, str | None]:
        return (self.word, self.stem, self.skeleton)

    def grade(self, matched: Collection[str]) -> float:
        """How well a memory with these lexemes holds this word."""
        return next((grade for form, grade in zip(self.forms, _GRADES, strict=True) if form in matched), 0.0)

    def query(self) -> str:
        """This word in any of its forms, as a tsquery."""
        return "(" + " | ".join(_quoted(form) for form in dict.fromkeys(self.forms) if form) + ")"

    def exact_query(self) -> str:
        """The word or its stem, as a tsquery."""
        return "(" + " | ".join(_quoted(form) for form in dict.fromkeys(self.forms[:2]) if form) + ")"


def score_of(terms: Sequence[Term], matched: Collection[str]) -> float:
    """The mean grade of the terms."""
    return round(sum(term.grade(matched) for term in terms) / len(terms), 4)


def by_words(connection: Connection, asked: Recall, words: list[str], limit: int) -> list[Found]:
    """At most so many different memories with these words, best first, the newest first among equals."""
    terms = _terms(connection, words)
    statement, queries = _search(asked, terms)
    lexemes = [form for term in terms for form in term.forms if form]
    rows = connection.execute(statement, {**place_and_limits(asked), **queries, "lexemes": lexemes}).all()
    found = [Found(row.key, score_of(terms, set(row.matched)), row.written_at) for row in rows]
    return sorted(found, key=Found.order)[:limit]


def _terms(connection: Connection, words: list[str]) -> list[Term]:
    rows = connection.execute(_STEMS, {"words": words}).all()
    telling = ([row for row in rows if row.stem] or list(rows))[:_MOST_TERMS]
    forms = {row.word: (row.word, row.stem, skeleton_of(row.word)) for row in telling}
    lexemes = [form for each in forms.values() for form in each if form]
    common = set(connection.execute(_COMMON, {"lexemes": lexemes}).scalars())
    return [Term(*each, bool(common & {*each[:2]}), bool(common & {*each})) for each in forms.values()]


def _search(asked: Recall, terms: Sequence[Term]) -> tuple[TextClause, dict[str, str]]:
    """Newest memories with all words, and for each word the newest with it: rare words find their memories by that."""
    here = _quoted(place_lexeme(asked.tenant, asked.namespace, asked.world))
    all_common = all(term.commonly_alike for term in terms)
    wanted = {" & ".join(term.query() for term in terms): (_CANDIDATES_WITH_ALL, all_common)}
    for term in terms:
        wanted.setdefault(term.exact_query(), (_CANDIDATES_PER_TERM, term.common))
        wanted.setdefault(term.query(), (_CANDIDATES_PER_TERM, term.commonly_alike))
    filters = narrowing(asked)
    parts = [
        _CANDIDATES.format(n=n, filters=filters, limit=limit, order=_BY_AGE if common else _BY_INDEX)
        for n, (limit, common) in enumerate(wanted.values())
    ]
    queries = {f"query_{n}": f"{here} & {query}" for n, query in enumerate(wanted)}
    return text(_MATCHES.format(candidates=" UNION ".join(parts))), queries


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"

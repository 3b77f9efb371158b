"""Recall: what words find and what meaning finds, in one ranking, and the memories themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from app.brain.bodies import Recall
from app.brain.found import fuse, place_and_limits
from app.brain.meaning import Meaning
from app.brain.store import transaction
from app.brain.word_search import by_words
from app.brain.words import words_of

_DEPTH = 60
_VALUES = text("""
    SELECT key, value, coordinate, about FROM brain.memories
    WHERE tenant = :tenant AND namespace = :namespace AND universe = :universe AND key = ANY(CAST(:keys AS text[]))
""")


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that was found; `score` lies in 0...1."""

    key: str
    score: float
    value: Mapping[str, Any]
    coordinate: bytes
    novelty: float | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """The hits, best first, and why they are fewer or worse than they could be."""

    hits: list[Hit]
    degraded_reasons: tuple[str, ...] = ()


def recall(engine: Engine, meaning: Meaning, asked: Recall) -> Recalled:
    """At most `top_k` different memories, best first; none where the question holds no word.

    Where the question's meaning cannot be had, or not in time, words alone answer, and the reasons say so.
    """
    words = words_of(asked.query)
    if not words:
        return Recalled([])
    question = meaning.ask(asked.query)
    with transaction(engine) as connection:
        worded = by_words(connection, asked, words, _DEPTH)
    meant, reasons = meaning.find(asked, question, _DEPTH)
    good = [found for found in fuse(worded, meant) if found.score >= (asked.min_score or 0.0)]
    scores = {found.key: found.score for found in good[: asked.top_k]}
    return Recalled(_hits(engine, asked, scores), reasons)


def _hits(engine: Engine, asked: Recall, scores: Mapping[str, float]) -> list[Hit]:
    if not scores:
        return []
    with transaction(engine) as connection:
        rows = connection.execute(_VALUES, {**place_and_limits(asked), "keys": list(scores)}).all()
    found = {row.key: row for row in rows}
    return [
        Hit(key, score, row.value, bytes(row.coordinate), row.about.get("novelty"))
        for key, score in scores.items()
        if (row := found.get(key)) is not None
    ]

"""A memory as a search finds it, and what every search is narrowed by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.brain.bodies import Recall

# Full strength for the first of a list, half for the eleventh: long tails say little about a few hundred characters.
_FLATNESS = 10


@dataclass(frozen=True, slots=True)
class Found:
    """`score` compares only with others of the same search; the higher the better."""

    key: str
    score: float
    written_at: datetime

    def order(self) -> tuple[float, float, str]:
        """Sorts the best first and the newest first among equals."""
        return (-self.score, -self.written_at.timestamp(), self.key)


def narrowing(asked: Recall) -> str:
    """Conditions on `brain.memories` for `place_and_limits`: alive, with all tags, young enough."""
    conditions = ["(expires_at IS NULL OR expires_at > clock_timestamp())"]
    if asked.tags:
        conditions.append("tags @> CAST(:tags AS text[])")
    if asked.max_age_seconds:
        conditions.append("written_at > clock_timestamp() - make_interval(secs => :max_age_seconds)")
    return " AND ".join(conditions)


def place_and_limits(asked: Recall) -> dict[str, object]:
    """The parameters of every search."""
    place: dict[str, object] = {"tenant": asked.tenant, "namespace": asked.namespace, "universe": asked.world}
    return {**place, "tags": asked.tags, "max_age_seconds": asked.max_age_seconds}


def fuse(by_words: Sequence[Found], by_meaning: Sequence[Found]) -> list[Found]:
    """Both rankings in one, by reciprocal ranks; scores lie in 0...1, and words alone keep their own.

    A memory counts by its place in each ranking, among words as far as it holds the question's words: a memory that
    shares one small word with the question is no match for one that means the same. 1 is the first of both rankings
    that holds every word; the first by meaning alone has 0.5.
    """
    if not by_meaning:
        return list(by_words)
    by_key = {found.key: found for found in (*by_words, *by_meaning)}
    shares = dict.fromkeys(by_key, 0.0)
    for found, rank in _ranked(by_words):
        shares[found.key] += found.score * _share(rank)
    for found, rank in _ranked(by_meaning):
        shares[found.key] += _share(rank)
    fused = [Found(key, round(shares[key] / 2, 4), found.written_at) for key, found in by_key.items()]
    return sorted(fused, key=Found.order)


def _share(rank: int) -> float:
    """1 for the first, falling with the rank."""
    return (_FLATNESS + 1) / (_FLATNESS + rank)


def _ranked(ordered: Sequence[Found]) -> Iterator[tuple[Found, int]]:
    """Each with its rank from 1; equals share theirs, so that age decides only at the end."""
    first_of: Mapping[float, int] = {found.score: number for number, found in reversed(list(enumerate(ordered, 1)))}
    for found in ordered:
        yield found, first_of[found.score]

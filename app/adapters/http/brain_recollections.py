"""What SomaBrain's answers to a question hold, in whatever shape its version gives them. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from app.adapters.http.bounded import Answer
from app.adapters.http.brain_answers import is_number, said_by
from app.domain.errors import BrainUnavailable
from app.domain.json_text import BadJson, check_storable, replace_unstorable, storable
from app.domain.memory import Place
from app.domain.recall import Question, Recollection

_LISTS = ("results", "memory", "memories", "wm")
_TEXTS = ("content", "text", "what", "task")


def recollections_of(answer: Answer, question: Question, older: bool, now: datetime) -> list[Recollection]:
    """At most `top_k` different memories in the order of the answer; anything that is no answer to a question is
    raised as the contract's error table says. The older route knows no places: of its finds only those count that
    say themselves that they are of the question's place.
    """
    items = [item for item in _listed(said_by(answer, now)) if isinstance(item, dict)]
    if older:
        items = [item for item in items if _is_of(question.place, _payload_of(item))]
    return list(islice(_different(_recollection(item) for item in items), question.top_k))


def _listed(said: Mapping[str, Any]) -> list[Any]:
    lists = [said[name] for name in _LISTS if isinstance(said.get(name), list)]
    if not lists:
        raise BrainUnavailable("the answer does not hold what SomaBrain found")
    return next((found for found in lists if found), [])


def _is_of(place: Place, payload: Mapping[str, Any]) -> bool:
    told = (payload.get("tenant"), payload.get("namespace"), payload.get("universe") or "")
    return told == (place.tenant, place.namespace, place.universe)


def _different(found: Iterable[Recollection]) -> Iterator[Recollection]:
    """A memory that lies in two layers is found twice."""
    seen: set[str] = set()
    for each in found:
        if each.event_id is None and not each.content:
            continue
        if each.event_id is None or each.event_id not in seen:
            yield each
        seen.add(each.event_id or "")


def _recollection(item: Mapping[str, Any]) -> Recollection:
    payload = _payload_of(item)
    score = item.get("score")
    return Recollection(
        event_id=_id(item.get("key")) or _id(payload.get("id")),
        content=replace_unstorable(_text_of(payload) or _text_of(item)),
        score=float(score) if is_number(score) else None,
        payload=payload if _storable(payload) else {},
    )


def _payload_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The memory inside a find: newer versions call it content, older ones give the memory itself."""
    for name in ("payload", "content"):
        inside = item.get(name)
        if isinstance(inside, dict):
            return inside
    return item


def _text_of(fields: Mapping[str, Any]) -> str:
    return next((text for name in _TEXTS if isinstance(text := fields.get(name), str) and text), "")


def _id(found: object) -> str | None:
    return found if isinstance(found, str) and found and storable(found) else None


def _storable(payload: Mapping[str, Any]) -> bool:
    """Whether this may go on to Postgres and to people; only a memory that somebody else wrote may not."""
    try:
        check_storable(payload)
    except BadJson:
        return False
    return True

"""`Brain` in a dictionary; the contract suite holds it to what the real service and client do."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.coordinates import coordinate_of
from app.domain.errors import BatchRefused, BrainCannotForget, BrainForbidden, BrainUnavailable, MemoryRefused
from app.domain.json_text import BadJson, parse_json
from app.domain.memory import Memory, Place, Remembered
from app.domain.recall import BrainFigures, Question, Recollection

_FAILURES_TO_OPEN = 5


@dataclass
class Kept:
    """One memory as it stands; `writes` counts how often its content was really written."""

    value: dict[str, Any]
    idempotency_key: str
    writes: int = 1


@dataclass
class InMemoryBrain:
    """Set `down`, `forbidden`, `refusing`, `taking_only`, `takes_batches` or `cannot_forget` to meet that side of it.

    `offers` counts the memories it was offered. It recalls by whole words, newest first among equals.
    """

    down: bool = False
    forbidden: bool = False
    refusing: bool = False
    taking_only: bool = False
    takes_batches: bool = True
    cannot_forget: bool = False
    retry_after: float | None = None
    kept: dict[tuple[Place, str], Kept] = field(default_factory=dict)
    offers: int = 0
    links: dict[tuple[Place, str, str, str], float] = field(default_factory=dict)
    breaker_open: bool = False
    refuses_us: bool = False
    _failures: int = 0

    def remember(self, memory: Memory) -> Remembered:
        self.offers += 0 if self.breaker_open else 1
        self._answer()
        self._keep(memory, _value_of(memory, self.refusing))
        x, y, z = coordinate_of(memory.place.universe, memory.event_id)
        return Remembered((x, y, z), request_id=memory.event_id, trace_id=None, kept=not self.taking_only)

    def remember_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        if not self.takes_batches:
            raise BatchRefused("this SomaBrain takes no batches")
        before = dict(self.kept)
        try:
            return [self.remember(memory) for memory in memories]
        except MemoryRefused as error:
            self.kept = before
            raise BatchRefused(str(error)) from error
        except BrainUnavailable:
            self.kept = before
            raise

    def recall(self, question: Question, seconds: float | None = None) -> list[Recollection]:
        self._answer()
        asked = _words_in(question.query)
        found = [
            Recollection(key, str(kept.value.get("content", "")), len(asked & _words_in(kept)) / len(asked), kept.value)
            for (place, key), kept in reversed(self.kept.items())
            if place == question.place and asked & _words_in(kept)
        ]
        return sorted(found, key=lambda each: -(each.score or 0))[: question.top_k]

    def forget(
        self,
        event_id: str,
        place: Place,
        request_id: str,
        *,
        traceparent: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        self._answer()
        if self.cannot_forget:
            raise BrainCannotForget("SomaBrain cannot delete, it answered 404")
        self.kept.pop((place, event_id), None)

    def link(self, place: Place, from_id: str, to_id: str, *, kind: str = "related", weight: float = 1.0) -> None:
        self._answer()
        self.links[place, from_id, to_id, kind] = weight

    def figures(self, place: Place) -> BrainFigures:
        self._answer()
        drawer = [at for at, _ in self.kept if (at.tenant, at.namespace) == (place.tenant, place.namespace)]
        return BrainFigures(wm_items=len(drawer), circuit_open=False, outbox_pending=0)

    def healthy(self) -> bool:
        return not self.down

    def close_breaker(self) -> None:
        self.breaker_open = False
        self._failures = 0

    @property
    def texts(self) -> list[str]:
        """The contents it keeps, oldest first."""
        return [kept.value["content"] for kept in self.kept.values()]

    def _answer(self) -> None:
        if self.breaker_open:
            raise BrainUnavailable("SomaBrain failed too often a moment ago")
        if self.down:
            self._failures += 1
            self.breaker_open = self._failures >= _FAILURES_TO_OPEN
            raise BrainUnavailable("SomaBrain is down", self.retry_after)
        self._failures = 0
        self.refuses_us = self.forbidden
        if self.forbidden:
            raise BrainForbidden("SomaBrain answered 401; check SOMA_API_KEY")

    def _keep(self, memory: Memory, value: dict[str, Any]) -> None:
        address = (memory.place, memory.event_id)
        known = self.kept.get(address)
        if known is None:
            self.kept[address] = Kept(value, memory.idempotency_key)
        elif (known.value, known.idempotency_key) != (value, memory.idempotency_key):
            self.kept[address] = Kept(value, memory.idempotency_key, known.writes + 1)


def _value_of(memory: Memory, refusing: bool) -> dict[str, Any]:
    value = {**memory.payload, "idempotency_key": memory.idempotency_key, "universe": memory.place.universe}
    try:
        _check(value)
    except BadJson as error:
        raise MemoryRefused(f"SomaBrain refused this memory with 422: {error}") from error
    if refusing:
        raise MemoryRefused("SomaBrain refused this memory with 422")
    return value


def _check(value: object) -> None:
    parse_json(json.dumps(value).encode())


def _words_in(text: str | Kept) -> set[str]:
    said = str(text.value.get("content", "")) if isinstance(text, Kept) else text
    return set(re.findall(r"\w+", said.casefold()))

"""One turn's answer as a reader gets it, and the pure rules that keep it one text while attempts come and go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.events import ENDS_A_TURN, EventType

_TOOL_WORK = frozenset({EventType.TOOL_START, EventType.TOOL_RESULT})


@dataclass(frozen=True, slots=True)
class Said:
    """The next words, as this attempt wrote them."""

    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Anew:
    """What was said before is no part of the answer any more. `is_step`: the model had said it before it used a tool;
    else its attempt broke off, and the next one says something else.
    """

    is_step: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The event that ended the turn; the text was told before."""

    event: Mapping[str, Any]

    @property
    def attempt(self) -> int:
        """Which attempt came to this end; 0 where none had begun."""
        return int(self.event["metadata"].get("attempt") or 0)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing happened for a while; say that the line is there."""


Part = Said | Anew | Ended | Silence


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a reader was who comes back: in which attempt, and at most how many characters of it."""

    attempt: int = 0
    length: int = 0


_NOTHING = Seen()


class AnswerMerge:
    """Turns the items of a session's stream into one turn's answer.

    An attempt that begins anew usually says the same again: it is held back until it has caught up with what was
    told, and goes on from there. Only where it says something else the reader has to hear of it.
    """

    def __init__(self, event_id: str, seen: Seen = _NOTHING) -> None:
        self._event_id = event_id
        self._seen = seen
        self._attempt = 0
        self._told: list[str] = []
        self._length = 0
        self._behind: str | None = None
        self._used_tool = False

    def take(self, item: Mapping[str, Any]) -> Iterator[Part]:
        """What this item of the stream means for the answer."""
        if item["type"] == "ping":
            yield Silence()
            return
        kind = EventType(item["type"])
        if self._is_ours(item, kind):
            yield from self._mark(kind, item)
        elif self._attempt and kind is EventType.DELTA:
            yield from self._hear(item["message"])
        elif self._attempt and kind in _TOOL_WORK:
            self._used_tool = True

    def _is_ours(self, item: Mapping[str, Any], kind: EventType) -> bool:
        marks = kind is EventType.THINKING or kind in ENDS_A_TURN
        return marks and str(item["event_id"]).startswith(f"{self._event_id}:")

    def _mark(self, kind: EventType, item: Mapping[str, Any]) -> Iterator[Part]:
        if kind is EventType.THINKING:
            yield from self._begin(int(item["metadata"]["attempt"]))
            return
        end = Ended(item)
        if kind is EventType.FINAL or (kind is EventType.CANCELLED and item["message"]):
            yield from self._begin(end.attempt)
            yield from self._tell_rest(item["message"])
        yield end

    def _begin(self, attempt: int) -> Iterator[Part]:
        """An attempt begins; the one that goes on already is no new one."""
        if attempt <= self._attempt:
            return
        is_step, self._used_tool = self._used_tool, False
        self._attempt, self._behind = attempt, ""
        if is_step and self._length:
            yield from self._forget(is_step=True)
        elif attempt > self._seen.attempt and self._length < self._seen.length:
            # What the reader has and we have not cannot be compared.
            yield from self._forget(is_step=is_step)

    def _forget(self, is_step: bool) -> Iterator[Part]:
        self._told, self._length, self._seen = [], 0, _NOTHING
        yield Anew(is_step)

    def _hear(self, text: str) -> Iterator[Part]:
        if self._behind is None:
            yield from self._tell(text)
            return
        self._behind += text
        known = "".join(self._told)
        if self._behind.startswith(known):
            rest, self._behind = self._behind[len(known) :], None
            yield from self._tell(rest)
        elif not known.startswith(self._behind):
            yield from self._tell_instead(self._behind)

    def _tell_rest(self, whole: str) -> Iterator[Part]:
        """The end of the answer, which is `whole`."""
        known = "".join(self._told)
        if whole.startswith(known):
            yield from self._tell(whole[len(known) :])
        else:
            yield from self._tell_instead(whole)

    def _tell_instead(self, text: str) -> Iterator[Part]:
        self._behind = None
        yield from self._forget(is_step=False)
        yield from self._tell(text)

    def _tell(self, text: str) -> Iterator[Part]:
        if text:
            self._told.append(text)
            self._length += len(text)
            yield Said(self._attempt, text)

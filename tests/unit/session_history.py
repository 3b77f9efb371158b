"""Histories of a session for the stream's tests: what a store knows after each step, what was published live, and a
reader that holds every stream to its promises."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from app.domain.events import ENDS_A_TURN, EventType
from app.domain.stream import Delta

Item = dict[str, Any]
_ENDS = {kind.value for kind in ENDS_A_TURN}
_words = st.text("ab é\U0001f600", min_size=1, max_size=3)


@dataclass(frozen=True)
class Step:
    """One commit or one publication: an event, a live piece, or the running text as it is durable from now on."""

    event: Item | None = None
    piece: Delta | None = None
    partial: Delta | None = None
    forgets: bool = False


@dataclass
class World:
    """What the durable store would answer now, and everything that was ever published."""

    events: list[Item] = field(default_factory=list)
    partial: Delta | None = None
    published: list[Item | Delta] = field(default_factory=list)

    def take(self, step: Step) -> None:
        if step.event is not None:
            self.events.append(step.event)
            self.published.append(step.event)
            if step.event["type"] in _ENDS:
                self.partial = None
        if step.piece is not None:
            self.published.append(step.piece)
        if step.partial is not None or step.forgets:
            self.partial = step.partial

    def after(self, seq: int) -> list[Item]:
        return [event for event in self.events if event["seq"] > seq]


def an_event(seq: int, kind: EventType, message: str = "", **metadata: Any) -> Item:
    return {"type": kind.value, "seq": seq, "message": message, "metadata": metadata, "cursor": str(seq)}


class _Author:
    """Writes a history step by step, with numbers as the store would give them."""

    def __init__(self) -> None:
        self.seq = 0
        self.steps: list[Step] = []

    def event(self, kind: EventType, message: str = "", **metadata: Any) -> int:
        self.seq += 1
        self.steps.append(Step(event=an_event(self.seq, kind, message, **metadata)))
        return self.seq

    def message(self) -> None:
        self.event(EventType.USER, "question")
        self.event(EventType.STARTED)

    def attempt(self, number: int, pieces: list[str], saves: list[bool], messages: list[bool]) -> str:
        begun, text = self.event(EventType.THINKING, attempt=number), ""
        for piece, saved, another in zip(pieces, saves, messages, strict=True):
            self.steps.append(Step(piece=Delta(begun, number, len(text), piece)))
            text += piece
            if saved:
                self.steps.append(Step(partial=Delta(begun, number, 0, text)))
            if another:
                self.message()
        return text


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Turns of several attempts, other messages in between, ends of every kind."""
    author = _Author()
    for _ in range(draw(st.integers(1, 3))):
        author.message()
        text = ""
        for number in range(1, draw(st.integers(1, 3)) + 1):
            author.steps.append(Step(forgets=True))
            pieces = draw(st.lists(_words, max_size=4))
            flags = st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces))
            text = author.attempt(number, pieces, draw(flags), draw(flags))
        if draw(st.integers(0, 3)):
            author.event(EventType.FINAL, text)
        else:
            author.event(EventType.ERROR, reason="no")
    return author.steps


class Reader:
    """A client: keeps the transcript, and fails as soon as the stream breaks a promise."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.text = ""
        self.running = False
        self.ends: list[Item] = []

    def hear(self, item: Item) -> None:
        match item["type"]:
            case EventType.DELTA:
                assert self.running, "text without an answer that runs"
                assert item["metadata"]["offset"] == len(self.text), "a gap or a repeat in the text"
                assert item["message"]
                self.text += item["message"]
            case EventType.RESET:
                self.text = ""
            case _:
                self._durable(item)

    def _durable(self, item: Item) -> None:
        assert item["seq"] == (self.seqs[-1] if self.seqs else 0) + 1, "a gap or a repeat in the line"
        self.seqs.append(item["seq"])
        if item["type"] == EventType.THINKING:
            self.running = True
        elif item["type"] in _ENDS:
            if item["type"] == EventType.FINAL:
                assert item["message"].startswith(self.text), "what was shown is not what was said"
            self.running, self.text = False, ""
            self.ends.append(item)

    def copy(self) -> "Reader":
        twin = Reader()
        twin.seqs, twin.text, twin.running, twin.ends = [*self.seqs], self.text, self.running, [*self.ends]
        return twin


def whole(steps: list[Step]) -> Iterator[World]:
    """The world after each step."""
    world = World()
    for step in steps:
        world.take(step)
        yield world

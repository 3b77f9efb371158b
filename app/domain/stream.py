"""A reader's place in a session's stream, and the pure rules that merge durable events with live deltas.

A cursor is `seq` (everything up to that durable event was seen) or `seq.attempt.offset` (and so many characters of
the running answer, as its `attempt` wrote it).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.errors import Rejected
from app.domain.events import ENDS_A_TURN, EventType, live_item
from app.domain.long_items import LONGEST_PIECE

_CURSOR = re.compile(r"([0-9]{1,18})(?:\.([1-9][0-9]{0,8})\.([0-9]{1,9}))?")


class StreamGap(Exception):
    """A live item does not continue what this reader has: the durable store has to be read again."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader is: last durable `seq`, then the attempt and characters seen of the running answer."""

    seq: int = 0
    attempt: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.seq}.{self.attempt}.{self.offset}" if self.attempt else str(self.seq)


def parse_cursor(text: str) -> Cursor:
    """The cursor written in `text`; empty means the beginning. `Rejected` when it is not one."""
    if not text:
        return Cursor()
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise Rejected("the cursor must be a number like 12 or 12.1.340, as the stream sent it")
    seq, attempt, offset = match.groups(default="0")
    return Cursor(int(seq), int(attempt), int(offset))


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a running answer: `after` is the seq of the `assistant.thinking` that began its attempt."""

    after: int
    attempt: int
    offset: int
    text: str


class StreamMerge:
    """Turns durable events, durable partial text and live deltas into one line without gap or repeat."""

    def __init__(self, session_id: str, cursor: Cursor) -> None:
        self._session_id = session_id
        self.cursor = cursor
        # Where the running answer began. A reader that resumes inside one cannot know; `partial` tells.
        self._begun: int | None = None if cursor.attempt else cursor.seq

    def durable(self, item: Mapping[str, Any], now: datetime) -> Iterator[dict[str, Any]]:
        """Pass on a durable event that is next in line; an older one is dropped, a later one is a `StreamGap`."""
        seq = int(item["seq"])
        if seq <= self.cursor.seq:
            return
        if seq != self.cursor.seq + 1:
            raise StreamGap
        kind = EventType(item["type"])
        if kind is EventType.THINKING and self.cursor.offset:
            # Before the event, not after it: who resumes between the two must not keep the old text.
            self.cursor = Cursor(self.cursor.seq, self.cursor.attempt, 0)
            yield self._live(EventType.RESET, "", {"attempt": item["metadata"]["attempt"]}, now)
        self._advance(kind, seq, item)
        yield dict(item) | {"cursor": str(self.cursor)}

    def _advance(self, kind: EventType, seq: int, item: Mapping[str, Any]) -> None:
        if kind in ENDS_A_TURN:
            self.cursor, self._begun = Cursor(seq), seq
        elif kind is EventType.THINKING:
            self.cursor, self._begun = Cursor(seq, int(item["metadata"]["attempt"]), 0), seq
        else:
            self.cursor = Cursor(seq, self.cursor.attempt, self.cursor.offset)

    def delta(self, piece: Delta, now: datetime) -> Iterator[dict[str, Any]]:
        """Pass on what is new in this piece; one of an attempt that is over is dropped."""
        if piece.after > self.cursor.seq or self._begun is None:
            raise StreamGap
        if piece.after < self._begun:
            return
        seen = self.cursor.offset
        if piece.offset > seen:
            raise StreamGap
        for start in range(seen, piece.offset + len(piece.text), LONGEST_PIECE):
            fresh = piece.text[start - piece.offset :][:LONGEST_PIECE]
            self.cursor = Cursor(self.cursor.seq, piece.attempt, start + len(fresh))
            yield self._live(EventType.DELTA, fresh, {"offset": start, "attempt": piece.attempt}, now)

    def partial(self, piece: Delta, now: datetime) -> Iterator[dict[str, Any]]:
        """The same for durable text, read after the events up to the cursor: it tells which attempt is running."""
        if self._begun is None and piece.after <= self.cursor.seq:
            self._begun = piece.after
            if piece.attempt != self.cursor.attempt:
                self.cursor = Cursor(self.cursor.seq, piece.attempt, 0)
                yield self._live(EventType.RESET, "", {"attempt": piece.attempt}, now)
        yield from self.delta(piece, now)

    def _live(self, kind: EventType, message: str, metadata: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        return live_item(self._session_id, kind, message, metadata, now) | {"cursor": str(self.cursor)}

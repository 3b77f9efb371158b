"""One turn's answer, for as long as somebody waits for it: what is away meanwhile is waited for, too."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.domain.answer_parts import AnswerMerge, Ended, Part, Seen
from app.domain.errors import NotFound, Retryable
from app.domain.kept_turns import KeptTurn, TurnBook
from app.services.follow_session import StreamRoom, follow_session

_PAUSE_SECONDS = 0.5
Left = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class AnswerRoom:
    """What waiting for answers needs."""

    book: TurnBook
    streams: StreamRoom


def turn_kept(event_id: str, room: AnswerRoom, left: Left) -> KeptTurn | None:
    """The turn of this accepted message, once it can be read; None when `left` says that nobody waits any more,
    `NotFound` when its session was deleted meanwhile.
    """
    while not left():
        with suppress(Retryable):
            found = room.book.find(event_id)
            if found is None:
                raise NotFound("this session is not there any more")
            return found
        room.streams.clock.sleep(_PAUSE_SECONDS)
    return None


def follow_answer(turn: KeptTurn, room: AnswerRoom, left: Left, seen: Seen | None = None) -> Iterator[Part]:
    """Its parts, the last one `Ended` unless `left` says before that nobody waits any more."""
    merge = AnswerMerge(turn.event_id, seen or Seen())
    for item in _items(turn, room, left):
        for part in merge.take(item):
            yield part
            if isinstance(part, Ended):
                return
        if left():
            return


def _items(turn: KeptTurn, room: AnswerRoom, left: Left) -> Iterator[dict[str, Any]]:
    """The session's stream after the message; when it breaks off, it goes on where it was."""
    cursor = str(turn.seq)
    while not left():
        try:
            for item in follow_session(turn.session_id, cursor, room.streams, left):
                cursor = item.get("cursor", cursor)
                yield item
        except Retryable:
            yield {"type": "ping"}
            room.streams.clock.sleep(_PAUSE_SECONDS)

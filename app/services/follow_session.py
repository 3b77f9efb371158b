"""A session's stream, for as long as somebody reads: durable events first, then live, then whatever Postgres says.

Redis makes it fast; Postgres makes it complete. Where the live line shows a gap, is away or says nothing for long,
the durable store is read again, so that no reader can miss or see twice anything.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.domain.errors import NotFound, Rejected
from app.domain.events import ENDS_A_TURN, LOOK, EventType, live_item
from app.domain.ports import Clock
from app.domain.stream import Cursor, Delta, StreamGap, StreamMerge, parse_cursor
from app.domain.stream_ports import LiveFeed, LiveLine, StreamStore

PING_SECONDS = 15.0
_POLL_SECONDS = 0.5
_EXPECTANT_SECONDS = 2.0
_CATCH_UP_SECONDS = 0.1
_LOOK_UP_SECONDS = 1.0
_PAGE = 200
_HELD_DELTAS = 500
_MEMORY_ORDER = ("accepted", "remembered", "replicated", "refused")


@dataclass(frozen=True, slots=True)
class StreamRoom:
    """What following a session needs."""

    store: StreamStore
    feed: LiveFeed
    clock: Clock


def follow_session(
    session_id: str, after: str, room: StreamRoom, left: Callable[[], bool] = lambda: False
) -> Generator[dict[str, Any], None, None]:
    """Items from the cursor `after` on, with a `ping` in every 15 s of silence, until `left` says that nobody reads;
    `NotFound` once the session is deleted.
    """
    with room.feed.attach(session_id) as line, suppress(_ReaderLeft):
        cursor, known = _place(session_id, after, room)
        if not known:
            yield live_item(session_id, EventType.STREAM_RESET, "", {}, room.clock.now())
        yield from _Follower(session_id, cursor, room, line, left).items()


def _place(session_id: str, after: str, room: StreamRoom) -> tuple[Cursor, bool]:
    try:
        cursor = parse_cursor(after)
    except Rejected:
        return Cursor(), False
    return (cursor, True) if cursor.seq <= room.store.head(session_id) else (Cursor(), False)


class _ReaderLeft(Exception):
    """Nobody reads this stream any more."""


class _Follower:
    """One reader's state: its merge, the deltas that came too early, when it last spoke and last looked."""

    def __init__(
        self, session_id: str, cursor: Cursor, room: StreamRoom, line: LiveLine, left: Callable[[], bool]
    ) -> None:
        self._left = left
        self._session_id = session_id
        self._room = room
        self._line = line
        self._merge = StreamMerge(session_id, cursor)
        self._early: deque[Delta] = deque(maxlen=_HELD_DELTAS)
        self._memories: dict[str, str] = {}
        self._owed = False
        self._looked_at = 0.0
        self._spoke_at = room.clock.monotonic()

    def items(self) -> Iterator[dict[str, Any]]:
        """The endless line."""
        self._owed = self._is_owed()
        yield from self._catch_up()
        while True:
            item = self._listen(self._patience())
            for out in self._digest(item):
                self._spoke_at = self._room.clock.monotonic()
                yield out
            if self._room.clock.monotonic() - self._spoke_at >= PING_SECONDS - _POLL_SECONDS:
                self._spoke_at = self._room.clock.monotonic()
                yield {"type": "ping"}

    def _listen(self, patience: float) -> dict[str, Any] | None:
        """The next live item within so many seconds; every second a look whether somebody still reads."""
        while patience > 0:
            item = self._line.next(min(patience, _LOOK_UP_SECONDS))
            if item is not None:
                return item
            if self._left():
                raise _ReaderLeft
            patience -= _LOOK_UP_SECONDS
        return None

    def _is_owed(self) -> bool:
        """Whether the last thing this reader saw was not the end of a turn."""
        seq = self._merge.cursor.seq
        last = self._room.store.events_after(self._session_id, seq - 1, 1) if seq else []
        return any(EventType(item["type"]) not in ENDS_A_TURN for item in last)

    def _patience(self) -> float:
        """How long to trust silence. While an answer is owed it may mean that what was published got lost."""
        if not self._line.connected:
            return _POLL_SECONDS
        left = PING_SECONDS - (self._room.clock.monotonic() - self._spoke_at)
        return min(_EXPECTANT_SECONDS if self._owed else PING_SECONDS, max(left, _POLL_SECONDS))

    def _digest(self, item: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        if item is None or item["type"] == LOOK["type"]:
            yield from self._catch_up()
        elif item["type"] == EventType.MEMORY_STATUS:
            yield from self._news(item["metadata"])
        elif item["type"] == EventType.DELTA:
            yield from self._live_delta(_delta(item))
        elif "seq" in item:
            yield from self._durable(item)

    def _durable(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            yield from self._pass_on(item)
        except StreamGap:
            yield from self._catch_up()

    def _pass_on(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._merge.durable(item, self._room.clock.now())
        self._owed = EventType(item["type"]) not in ENDS_A_TURN

    def _live_delta(self, piece: Delta) -> Iterator[dict[str, Any]]:
        self._early.append(piece)
        yield from self._play_early()
        if self._early and self._room.clock.monotonic() - self._looked_at >= _CATCH_UP_SECONDS:
            yield from self._catch_up()

    def _play_early(self) -> Iterator[dict[str, Any]]:
        while self._early:
            try:
                yield from self._merge.delta(self._early[0], self._room.clock.now())
            except StreamGap:
                return
            self._early.popleft()

    def _catch_up(self) -> Iterator[dict[str, Any]]:
        """Everything that Postgres has and this reader has not, then the deltas that waited for it."""
        self._looked_at = self._room.clock.monotonic()
        yield from self._read_events()
        partial = self._room.store.partial(self._session_id)
        if partial is not None:
            yield from self._durable_text(partial)
        yield from self._play_early()
        yield from self._news(self._room.store.memory_states(self._session_id))

    def _durable_text(self, partial: Delta) -> Iterator[dict[str, Any]]:
        # A gap here means that an attempt began after the events were read; the next look finds it.
        with suppress(StreamGap):
            yield from self._merge.partial(partial, self._room.clock.now())

    def _read_events(self) -> Iterator[dict[str, Any]]:
        while True:
            page = self._room.store.events_after(self._session_id, self._merge.cursor.seq, _PAGE)
            for item in page:
                yield from self._pass_on(item)
            if not page:
                self._check_that_it_is_there()
            if len(page) < _PAGE:
                return

    def _check_that_it_is_there(self) -> None:
        """Another session of the same name may have begun meanwhile: it has not come as far as this reader."""
        if self._room.store.head(self._session_id) < max(self._merge.cursor.seq, 1):
            raise NotFound("this session is not there any more")

    def _news(self, states: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """What is new about memories; a word that comes late never takes a later one back."""
        news = {key: state for key, state in states.items() if _further(state, self._memories.get(key))}
        if news:
            self._memories |= news
            now = self._room.clock.now()
            yield live_item(self._session_id, EventType.MEMORY_STATUS, "", news, now)


def _further(state: str, known: str | None) -> bool:
    return known is None or _MEMORY_ORDER.index(state) > _MEMORY_ORDER.index(known)


def _delta(item: dict[str, Any]) -> Delta:
    metadata = item["metadata"]
    return Delta(item["after"], metadata["attempt"], metadata["offset"], item["message"])

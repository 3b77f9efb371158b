"""A session's stream under everything that can happen to it: attempts that die or wait for tools, zombies that go on
talking, live items lost, doubled and late, Redis away, readers that drop anywhere and resume from any cursor they had.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, SlowReader
from app.domain.events import EventType, NewEvent, envelope, live_item
from app.domain.tools import ToolEnd, ToolStatus, result_event
from app.services.follow_session import StreamRoom, follow_session
from tests.builders import a_final, a_message, a_step, a_thought, an_id
from tests.fakes import FakeClock, InMemoryFeed, InMemoryStore
from tests.fakes_store import FakePresence, InMemoryTurns
from tests.unit.session_history import Reader

SESSION = "s-1"
KEPT_BOOKMARKS = 30
_any = st.integers(0, 1_000)
_words = st.text("ab é\U0001f600", min_size=1, max_size=4)
_fates = st.sampled_from(("sent", "sent", "sent", "lost", "twice", "late"))
_silent = (EventType.MEMORY_STATUS.value, "ping")


@dataclass
class Attempt:
    """One worker's try at a turn. It goes on talking after it lost its lease, as a zombie does."""

    turn: Turn
    turns: InMemoryTurns
    presence: FakePresence
    begun: int
    text: str = ""
    saved: str = ""
    ended: bool = False


@dataclass
class Bookmark:
    """A cursor that a reader was given, and what it had seen by then."""

    cursor: str
    reader: Reader = field(default_factory=Reader)


class StreamMachine(RuleBasedStateMachine):
    """One session, its writers, and one reader who may be anywhere in it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = InMemoryStore(self.clock)
        self.feed = InMemoryFeed(self.clock, capacity=100)
        self.room = StreamRoom(self.store.stream_store(), self.feed, self.clock)
        self.messages: list[str] = []
        self.attempts: list[Attempt] = []
        self.answers: dict[str, str] = {}
        self.late: list[dict[str, Any]] = []
        self.reader = Reader()
        self.bookmarks = [Bookmark("")]
        self.stream: Generator[dict[str, Any], None, None] = follow_session(SESSION, "", self.room)

    # --- the writers' side

    def publish(self, item: dict[str, Any], fate: str) -> None:
        if fate == "late":
            self.late.append(item)
        for _ in range({"sent": 1, "twice": 2}.get(fate, 0)):
            self.feed.publish(SESSION, item)

    @initialize()
    def begin(self) -> None:
        self.accept()

    @rule()
    def accept(self) -> None:
        message = a_message("question", SESSION)
        _, events = self.store.inbox().accept(message, None)
        self.messages.append(message.event_id)
        for event in events:
            self.feed.publish(SESSION, envelope(event))

    @rule(fate=_fates, kill=st.booleans())
    def begin_an_attempt(self, fate: str, kill: bool) -> None:
        if kill:
            for attempt in self.attempts:
                attempt.presence.stop()
            self.store.end_leases_of_the_dead()
        presence = self.store.presence(an_id("p-"))
        presence.start()
        turns = self.store.turns(presence)
        for event_id in self.messages:
            if (turn := turns.claim(event_id)) is not None:
                noted = turns.note(turn, a_thought(event_id, turn.attempts))
                self.attempts.append(Attempt(turn, turns, presence, noted.seq))
                self.publish(envelope(noted), fate)
                return

    @precondition(lambda self: self.attempts)
    @rule(which=_any, words=_words, fate=_fates, save=st.booleans())
    def speak(self, which: int, words: str, fate: str, save: bool) -> None:
        """The newest attempt twice as often as the old ones; who has ended the turn itself says no more about it."""
        speakers = [attempt for attempt in self.attempts if not attempt.ended]
        if not speakers:
            return
        attempt = speakers[-1] if which % 2 else speakers[which % len(speakers)]
        metadata = {"offset": len(attempt.text), "attempt": attempt.turn.attempts}
        item = live_item(SESSION, EventType.DELTA, words, metadata, self.clock.now()) | {"after": attempt.begun}
        self.publish(item, fate)
        attempt.text += words
        if save:
            if attempt.turns.save_partials([(attempt.turn, attempt.text)]).kept:
                attempt.saved = attempt.text
            else:
                assert attempt is not self.attempts[-1] or self.is_over(attempt)

    def is_over(self, attempt: Attempt) -> bool:
        row = self.store.turn_rows.rows[attempt.turn.event_id]
        return row.state != "running" or row.attempts != attempt.turn.attempts

    @precondition(lambda self: self.attempts)
    @rule(which=_any, fate=_fates, well=st.booleans())
    def end(self, which: int, fate: str, well: bool) -> None:
        attempt = self.attempts[which % len(self.attempts)]
        event_id = attempt.turn.event_id
        final = a_final(event_id, attempt.text)
        if not well:
            final = NewEvent(f"{event_id}:answer", EventType.ERROR, "assistant", "", {"reason": "no"})
        try:
            ended = attempt.turns.finish(attempt.turn, final, "done" if well else "failed", None)
        except LeaseLost:
            assert self.is_over(attempt)
            return
        assert event_id not in self.answers
        attempt.ended = True
        self.answers[event_id] = attempt.text if well else ""
        self.publish(envelope(ended), fate)

    @precondition(lambda self: self.attempts)
    @rule()
    def postpone(self) -> None:
        attempt = self.attempts[-1]
        attempt.turns.postpone(attempt.turn, 1.0, "the model is away")

    @precondition(lambda self: self.attempts)
    @rule(calls=st.integers(0, 2), fate=_fates)
    def ask_for_tools(self, calls: int, fate: str) -> None:
        """What the attempt has said by then was said on the way; the answer is what a later one says."""
        attempt = self.attempts[-1]
        try:
            events = attempt.turns.take_step(attempt.turn, a_step(attempt.turn, calls, refusals=1))
        except LeaseLost:
            assert self.is_over(attempt)
            return
        attempt.ended = True
        for event in events:
            self.publish(envelope(event), fate)

    @rule(fate=_fates)
    def the_tools_answer(self, fate: str) -> None:
        presence = self.store.presence(an_id("p-"))
        presence.start()
        calls = self.store.tool_calls(presence)
        for call_id in calls.due(10):
            call = calls.claim(call_id)
            assert call is not None
            end = ToolEnd("succeeded", ToolStatus.SUCCESS, {"text": "hi"})
            self.publish(envelope(calls.finish(call, result_event(call, end, "{}"), end, None)), fate)

    @rule()
    def late_items_arrive(self) -> None:
        for item in reversed(self.late):
            self.feed.publish(SESSION, item)
        self.late.clear()

    @rule(there=st.booleans())
    def redis(self, there: bool) -> None:
        if there:
            self.feed.reconnect()
        self.feed.connected = there

    @rule(seconds=st.sampled_from((0.2, 3.0, 40.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- the reader's side

    @rule(most=st.integers(1, 6))
    def read(self, most: int) -> None:
        """So many items, or up to the next ping: then everything was read."""
        for _ in range(most):
            if not self._hear_one():
                return

    def _hear_one(self) -> bool:
        try:
            item = next(self.stream)
        except SlowReader:
            self.drop_and_resume()
            return True
        if item["type"] not in _silent:
            self.reader.hear(item)
            self.bookmarks.append(Bookmark(item["cursor"], self.reader.copy()))
            del self.bookmarks[1:-KEPT_BOOKMARKS]
        return item["type"] != "ping"

    @rule()
    def drop_and_resume(self) -> None:
        self._resume(self.bookmarks[-1])

    @rule(which=_any)
    def resume_from_an_old_cursor(self, which: int) -> None:
        self._resume(self.bookmarks[which % len(self.bookmarks)])

    def _resume(self, bookmark: Bookmark) -> None:
        self.stream.close()
        self.reader = bookmark.reader.copy()
        self.bookmarks.append(bookmark)
        self.stream = follow_session(SESSION, bookmark.cursor, self.room)

    @rule()
    def read_everything(self) -> None:
        """Two pings in a row: whatever was lost has been looked up in Postgres by now."""
        for _ in range(2):
            while self._hear_one():
                pass
        assert self.reader.seqs == list(range(1, self.room.store.head(SESSION) + 1))
        self._the_running_text_is_there()

    def _the_running_text_is_there(self) -> None:
        running = [attempt for attempt in self.attempts if not self.is_over(attempt)]
        for attempt in running:
            assert self.reader.text.startswith(attempt.saved), "durable text was not shown"
            assert attempt.text.startswith(self.reader.text), "text that this attempt never said"

    # --- what holds

    @invariant()
    def every_answer_that_was_read_is_the_answer_that_was_kept(self) -> None:
        ends = [end for end in self.reader.ends if end["type"] == EventType.FINAL]
        for end in ends:
            assert end["message"] == self.answers[end["event_id"].rpartition(":")[0]]

    def teardown(self) -> None:
        self.late_items_arrive()
        self.read_everything()
        ended = {end["event_id"].rpartition(":")[0] for end in self.reader.ends}
        assert ended >= self.answers.keys(), "an answer was not shown"
        self.stream.close()

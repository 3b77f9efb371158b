"""A reader of a session sees everything once, whatever is lost, doubled or away in between."""

from collections.abc import Generator
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.conversation import UserMessage
from app.domain.errors import NotFound, SlowReader
from app.domain.events import LOOK, EventType, live_item
from app.services.accept_message import Reception, accept_message
from app.services.conversation import Conversation
from app.services.converse import converse
from app.services.follow_session import StreamRoom, follow_session
from app.services.prepare_turn import Preparation
from tests.builders import a_message
from tests.fakes import (
    FakeClock,
    InMemoryFeed,
    InMemoryStore,
    RecordingDoorbell,
    RecordingNotes,
    ScriptedModel,
    ScriptedPolicy,
    WishedStops,
)
from tests.fakes_parts import BreaksOff, FixedRoster, PromptScribe, Step, always_in_company
from tests.unit.session_history import Reader

Item = dict[str, Any]
PIECES = ("Once ", "upon ", "a time.")


class Stage:
    """One session, its store, its feed, a worker, and readers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = InMemoryStore(self.clock)
        self.feed = InMemoryFeed(self.clock)
        self.room = StreamRoom(self.store.stream_store(), self.feed, self.clock)
        self.message = a_message("tell me", "s-1")

    def accept(self, message: UserMessage | None = None) -> None:
        accept_message(message or self.message, None, Reception(self.store.inbox(), RecordingDoorbell(), self.feed))

    def answer(self, *steps: Step) -> str:
        turns = self.store.turns(self.store.presence("worker"))
        conversation = Conversation(
            turns, ScriptedModel(steps or PIECES), self.feed, RecordingDoorbell(), self.clock,
            RecordingNotes(), Preparation(FixedRoster(), self.store.transcripts(), ""), ("", "wm"),
            always_in_company, WishedStops(), ScriptedPolicy(), PromptScribe(turns),
        )  # fmt: skip
        return converse(self.message.event_id, conversation)

    def follow(self, after: str = "") -> Generator[Item, None, None]:
        return follow_session("s-1", after, self.room)


def until(stream: Generator[Item, None, None], *kinds: EventType | str) -> list[Item]:
    """Items up to the first of this kind."""
    found: list[Item] = []
    for item in stream:
        found.append(item)
        if item["type"] in kinds:
            return found
    raise AssertionError("the stream ended")


def words(items: list[Item]) -> list[str]:
    return [item["type"] for item in items if item["type"] != EventType.MEMORY_STATUS]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_reader_sees_the_past_then_the_present(stage: Stage) -> None:
    stage.accept()
    stage.feed.meanwhile.append(stage.answer)

    items = until(stage.follow(), EventType.FINAL)

    assert words(items) == [
        "user", "assistant.started", "assistant.thinking", *["assistant.delta"] * 3, "assistant.final"
    ]  # fmt: skip
    assert items[-1]["message"] == "Once upon a time."


def test_a_reader_who_comes_late_gets_the_end_without_the_pieces(stage: Stage) -> None:
    stage.accept()
    stage.answer()

    assert words(until(stage.follow(), EventType.FINAL)) == [
        "user", "assistant.started", "assistant.thinking", "assistant.final"
    ]  # fmt: skip


def test_a_reader_resumes_where_it_was(stage: Stage) -> None:
    stage.accept()
    stage.answer()

    assert words(until(stage.follow("2"), EventType.FINAL)) == ["assistant.thinking", "assistant.final"]


@pytest.mark.parametrize("cursor", ["nonsense", "99", "99.1.5", "-1", "1.0.5"])
def test_a_cursor_from_nowhere_begins_at_the_beginning_and_says_so(stage: Stage, cursor: str) -> None:
    stage.accept()
    stage.answer()

    items = until(stage.follow(cursor), EventType.FINAL)

    assert words(items) == [
        "stream.reset", "user", "assistant.started", "assistant.thinking", "assistant.final"
    ]  # fmt: skip


def test_without_redis_the_reader_looks_into_postgres_twice_a_second(stage: Stage) -> None:
    stage.accept()
    stage.feed.connected = False
    stage.feed.meanwhile.append(stage.answer)
    stream = stage.follow()
    until(stream, EventType.STARTED)
    began = stage.clock.monotonic()

    until(stream, EventType.FINAL)

    assert stage.clock.monotonic() - began <= 1.0


def test_durable_text_is_shown_while_redis_is_away(stage: Stage) -> None:
    stage.accept()
    stage.feed.connected = False
    stream = stage.follow()
    until(stream, EventType.STARTED)
    seen: list[Item] = []

    def look() -> None:
        stage.clock.advance(1)

    stage.feed.meanwhile.append(
        lambda: stage.answer("Once ", look, "upon ", lambda: seen.extend(until(stream_2, EventType.DELTA)), "a time.")
    )
    stream_2 = stage.follow()
    until(stream, EventType.FINAL)

    assert seen[-1]["message"] == "Once upon "


def test_a_lost_end_is_found_within_two_seconds(stage: Stage) -> None:
    stage.accept()

    def answer_unheard() -> None:
        publish, stage.feed.publish = stage.feed.publish, lambda *_: None  # type: ignore[method-assign]
        stage.answer()
        stage.feed.publish = publish  # type: ignore[method-assign]

    stage.feed.meanwhile.append(answer_unheard)
    stream = stage.follow()
    until(stream, EventType.STARTED)
    began = stage.clock.monotonic()

    until(stream, EventType.FINAL)

    assert stage.clock.monotonic() - began <= 2.0


def test_a_reader_who_resumes_in_front_of_a_lost_answer_finds_it_too(stage: Stage) -> None:
    stage.accept()
    stage.feed.meanwhile.append(lambda: stage.clock.advance(0))
    stream = stage.follow("2")
    until(stream, EventType.MEMORY_STATUS)
    publish, stage.feed.publish = stage.feed.publish, lambda *_: None  # type: ignore[method-assign]
    stage.answer()
    stage.feed.publish = publish  # type: ignore[method-assign]
    began = stage.clock.monotonic()

    until(stream, EventType.FINAL)

    assert stage.clock.monotonic() - began <= 2.0


def test_silence_is_broken_by_a_ping_every_fifteen_seconds(stage: Stage) -> None:
    stage.accept()
    stage.answer()
    stream = stage.follow()
    until(stream, EventType.FINAL, EventType.MEMORY_STATUS)
    at = []
    for _ in range(3):
        until(stream, "ping")
        at.append(stage.clock.monotonic())

    assert all(14.0 <= later - earlier <= 16.0 for earlier, later in pairwise(at))


def test_a_ping_comes_while_an_answer_is_owed_too(stage: Stage) -> None:
    stage.accept()
    stream = stage.follow()
    until(stream, "ping")

    assert stage.clock.monotonic() <= 17.0


def test_items_that_say_nothing_new_put_off_no_ping(stage: Stage) -> None:
    stage.accept()
    stage.answer()
    stream = stage.follow()
    *_, told = until(stream, EventType.MEMORY_STATUS)
    began = stage.clock.monotonic()

    def repeat() -> None:
        stage.clock.advance(10)
        stage.feed.publish("s-1", told)

    stage.feed.meanwhile.append(repeat)
    until(stream, "ping")

    assert stage.clock.monotonic() - began <= 16.0


@pytest.mark.parametrize("redis_is_away", [False, True])
@pytest.mark.parametrize("begun_anew", [False, True])
def test_the_stream_of_a_session_that_is_deleted_ends_and_says_why(
    stage: Stage, redis_is_away: bool, begun_anew: bool
) -> None:
    stage.accept()
    stage.answer()
    stage.feed.connected = not redis_is_away
    stream = stage.follow()
    until(stream, EventType.FINAL)
    stage.store.session_desk().delete("s-1")
    if begun_anew:
        stage.accept(a_message("somebody else's", "s-1"))
    stage.feed.publish("s-1", LOOK)

    with pytest.raises(NotFound, match="session"):
        until(stream, "ping")


def test_a_stream_that_nobody_reads_any_more_ends_within_a_second(stage: Stage) -> None:
    stage.accept()
    stage.answer()
    left: list[float] = []
    stage.feed.meanwhile.append(lambda: left.append(stage.clock.monotonic()))

    items = list(follow_session("s-1", "", stage.room, lambda: bool(left)))

    assert words(items)[-1] == "assistant.final"
    assert stage.clock.monotonic() - left[0] <= 1.0


def test_a_slow_reader_is_told_to_come_back(stage: Stage) -> None:
    stage.accept()
    stage.feed.capacity = 5
    stream = stage.follow()
    until(stream, EventType.STARTED)
    for _ in range(6):
        stage.feed.publish("s-1", live_item("s-1", EventType.MEMORY_STATUS, "", {}, stage.clock.now()))

    with pytest.raises(SlowReader):
        until(stream, EventType.FINAL)


def test_an_item_of_a_stranger_harms_no_stream(stage: Stage) -> None:
    stage.accept()
    stream = stage.follow()
    until(stream, EventType.STARTED)
    stage.feed.publish("s-1", {"type": "somebody.elses"})

    stage.answer()

    assert until(stream, EventType.FINAL)


def test_how_far_memories_are_is_told_once_and_only_forwards(stage: Stage) -> None:
    stage.accept()
    memory = stage.message.event_id
    stream = stage.follow()
    states = [until(stream, EventType.MEMORY_STATUS)[-1]["metadata"]]
    for word in ("replicated", "remembered", "accepted", "replicated"):
        stage.feed.publish("s-1", live_item("s-1", EventType.MEMORY_STATUS, "", {memory: word}, stage.clock.now()))
    stage.feed.meanwhile.append(stage.answer)
    states += [item["metadata"] for item in until(stream, EventType.FINAL) if item["type"] == EventType.MEMORY_STATUS]

    assert [state[memory] for state in states if memory in state] == ["accepted", "replicated"]


def test_a_reader_that_leaves_is_detached(stage: Stage) -> None:
    stage.accept()
    stream = stage.follow()
    until(stream, EventType.STARTED)

    stream.close()

    assert not stage.feed.lines["s-1"]


class LossyFeed(InMemoryFeed):
    """Loses and doubles what is published, as the fates say; a sent piece may also come much later."""

    def __init__(self, clock: FakeClock, fates: list[int]) -> None:
        super().__init__(clock)
        self._fates = fates
        self._late: list[tuple[str, Item]] = []

    def publish(self, session_id: str, item: Any) -> None:
        fate = self._fates.pop() if self._fates else 1
        for _ in range(fate if fate < 3 else 0):
            super().publish(session_id, item)
        if fate == 3:
            self._late.append((session_id, dict(item)))
        elif self._late:
            super().publish(*self._late.pop(0))


def read_some(stream: Generator[Item, None, None], reader: Reader, count: int) -> str:
    """Hear so many items, or all up to the end of the answer; the last cursor."""
    cursor = ""
    for item in islice(stream, count):
        if item["type"] not in ("ping", EventType.MEMORY_STATUS):
            reader.hear(item)
            cursor = item["cursor"]
        if item["type"] == EventType.FINAL:
            break
    stream.close()
    return cursor


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 25), max_size=6), st.booleans())
@settings(deadline=None, max_examples=50)
def test_whatever_is_lost_doubled_or_late_the_transcript_is_whole(
    fates: list[int], breaks: list[int], breaks_off: bool
) -> None:
    stage = Stage()
    stage.feed = LossyFeed(stage.clock, fates)
    stage.room = StreamRoom(stage.store.stream_store(), stage.feed, stage.clock)
    stage.accept()
    steps: list[Step] = [lambda: stage.clock.advance(0.15)]
    if breaks_off:
        stage.feed.meanwhile.append(lambda: stage.answer("Wrong ", *steps, *steps, "words ", BreaksOff()))
        stage.feed.meanwhile.append(lambda: stage.clock.advance(60))
    stage.feed.meanwhile.append(lambda: stage.answer(*(step for piece in PIECES for step in (*steps, piece))))
    reader, cursor = Reader(), ""

    for stop in [*breaks, 10_000]:
        if not reader.ends:
            cursor = read_some(stage.follow(cursor), reader, stop) or cursor

    assert reader.ends[-1]["message"] == "Once upon a time."
    assert reader.seqs == list(range(1, stage.room.store.head("s-1") + 1))

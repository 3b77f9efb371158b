"""Durable events, durable text and live pieces become one line, however they are mixed, lost or doubled."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.events import EventType
from app.domain.stream import Cursor, Delta, StreamGap, StreamMerge, parse_cursor
from tests.builders import NOW
from tests.unit.session_history import Item, Reader, Step, World, an_event, histories, whole

READ = -1
schedules = st.lists(st.lists(st.integers(READ, 60), max_size=5), max_size=60)


class Client:
    """A reader with its merge, as the service drives it: a gap makes it read the store."""

    def __init__(self, reader: Reader, cursor: Cursor) -> None:
        self.reader = reader
        self.merge = StreamMerge("s-1", cursor)
        self.states: list[tuple[str, Reader]] = []

    def act(self, what: int, world: World) -> None:
        if what == READ or not world.published:
            self.read(world)
        else:
            self.hear(world.published[what % len(world.published)], world)

    def hear(self, thing: Item | Delta, world: World) -> None:
        try:
            self._take(self.merge.delta(thing, NOW) if isinstance(thing, Delta) else self.merge.durable(thing, NOW))
        except StreamGap:
            self.read(world)

    def read(self, world: World) -> None:
        for event in world.after(self.merge.cursor.seq):
            self._take(self.merge.durable(event, NOW))
        if world.partial is not None:
            self._take(self.merge.partial(world.partial, NOW))

    def _take(self, items: Iterator[Item]) -> None:
        for item in items:
            self.reader.hear(item)
            self.states.append((item["cursor"], self.reader.copy()))


def play(client: Client, steps: list[Step], schedule: list[list[int]]) -> World:
    """Let the world happen while the client does what the schedule says; at the end it reads once."""
    world = World()
    for number, world in enumerate(whole(steps)):
        for what in schedule[number] if number < len(schedule) else ():
            client.act(what, world)
    client.read(world)
    return world


def assert_complete(reader: Reader, world: World) -> None:
    assert reader.seqs == [event["seq"] for event in world.events]
    finals = [event["message"] for event in world.events if event["type"] == EventType.FINAL]
    assert [end["message"] for end in reader.ends if end["type"] == EventType.FINAL] == finals
    assert not reader.running


@given(histories(), schedules)
@settings(deadline=None, max_examples=150)
def test_any_mix_of_live_and_durable_is_one_line_without_gap_or_repeat(
    steps: list[Step], schedule: list[list[int]]
) -> None:
    client = Client(Reader(), Cursor())

    world = play(client, steps, schedule)

    assert_complete(client.reader, world)


@given(histories(), st.integers(0, 60), schedules)
@settings(deadline=None, max_examples=60)
def test_a_stream_goes_on_from_every_cursor_it_ever_gave(
    steps: list[Step], happened: int, schedule: list[list[int]]
) -> None:
    first = Client(Reader(), Cursor())
    play(first, steps[:happened], schedule)

    for cursor, reader in [("", Reader()), *first.states]:
        second = Client(reader.copy(), parse_cursor(cursor))
        world = World()
        for step in steps[:happened]:
            world.take(step)
        for thing in world.published:
            second.hear(thing, world)
        for number, step in enumerate(steps[happened:]):
            world.take(step)
            for what in schedule[number] if number < len(schedule) else ():
                second.act(what, world)
        second.read(world)

        assert_complete(second.reader, world)


def test_a_later_event_is_a_gap_and_an_older_one_is_nothing() -> None:
    merge = StreamMerge("s-1", Cursor(4))

    assert list(merge.durable(an_event(4, EventType.USER), NOW)) == []
    with pytest.raises(StreamGap):
        list(merge.durable(an_event(6, EventType.USER), NOW))
    assert [item["seq"] for item in merge.durable(an_event(5, EventType.USER), NOW)] == [5]


def test_a_piece_overlapping_what_was_seen_gives_only_its_end() -> None:
    merge = StreamMerge("s-1", Cursor(2))
    list(merge.durable(an_event(3, EventType.THINKING, attempt=1), NOW))
    list(merge.delta(Delta(3, 1, 0, "Once "), NOW))

    (item,) = merge.delta(Delta(3, 1, 0, "Once upon"), NOW)

    assert (item["message"], item["metadata"], item["cursor"]) == ("upon", {"offset": 5, "attempt": 1}, "3.1.9")
    assert "seq" not in item


def test_a_new_attempt_takes_the_text_back() -> None:
    merge = StreamMerge("s-1", Cursor(3, 1, 9))

    reset, thinking = merge.durable(an_event(4, EventType.THINKING, attempt=2), NOW)

    assert (reset["type"], reset["metadata"], reset["cursor"]) == ("assistant.reset", {"attempt": 2}, "3.1.0")
    assert thinking["cursor"] == "4.2.0"


def test_a_new_attempt_before_any_text_takes_nothing_back() -> None:
    merge = StreamMerge("s-1", Cursor(3, 1, 0))

    assert len(list(merge.durable(an_event(4, EventType.THINKING, attempt=2), NOW))) == 1


def test_a_late_piece_of_an_answer_that_ended_is_not_shown_to_who_resumes_behind_it() -> None:
    merge = StreamMerge("s-1", Cursor(9))

    assert list(merge.delta(Delta(3, 1, 0, "old text"), NOW)) == []


def test_who_resumes_inside_an_answer_does_not_trust_a_piece_of_an_earlier_attempt() -> None:
    merge = StreamMerge("s-1", Cursor(12, 2, 4))
    stale, running = Delta(3, 1, 0, "wrong words"), Delta(5, 2, 0, "right words")

    with pytest.raises(StreamGap):
        list(merge.delta(stale, NOW))
    (item,) = merge.partial(running, NOW)

    assert item["message"] == "t words"
    assert list(merge.delta(stale, NOW)) == []


def test_a_cursor_with_an_attempt_that_never_was_starts_the_answer_afresh() -> None:
    merge = StreamMerge("s-1", Cursor(5, 7, 3))

    reset, text = merge.partial(Delta(5, 2, 0, "right words"), NOW)

    assert reset["type"] == "assistant.reset"
    assert (text["message"], text["metadata"]) == ("right words", {"offset": 0, "attempt": 2})

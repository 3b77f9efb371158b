"""The stream of a response: whole, in order, and resumable at any event whatever became of the attempts before."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.answer_parts import AnswerMerge
from app.domain.events import EventType
from app.domain.response_place import ResponsePlace, place_at
from app.domain.turn_request import TurnRequest
from app.services.openai_response_events import ResponseStream
from tests.unit.openai_turns import EVENT_ID, Timeline, a_turn, ending, final, tool_result

Event = dict[str, Any]
CALLS = [{"id": "c1", "name": "weather", "arguments": "{}"}, {"id": "c2", "name": "time", "arguments": '{"a": 1}'}]


class Reader:
    """A client that puts a response together, and objects to what no client could make sense of."""

    def __init__(self) -> None:
        self.last = -1
        self.types: list[str] = []
        self.texts: dict[int, str] = {}
        self.statuses: dict[int, str] = {}
        self.response: Event | None = None

    def take(self, event: Event) -> None:
        assert event["sequence_number"] > self.last
        self.last = event["sequence_number"]
        self.types.append(event["type"])
        index = event.get("output_index")
        match event["type"]:
            case "response.output_item.added":
                assert index not in self.texts, "an item is opened once"
                assert index == len(self.texts)
                assert not [number for number in self.texts if number not in self.statuses], "one is open at a time"
                self.texts[index] = ""
            case "response.output_text.delta":
                assert index not in self.statuses
                self.texts[index] += event["delta"]
            case "response.output_text.done":
                assert event["text"] == self.texts[index]
            case "response.output_item.done":
                assert index not in self.statuses
                self.statuses[index] = event["item"]["status"]
            case "response.completed" | "response.failed" | "response.incomplete":
                self.response = event["response"]

    def read(self, timeline: Timeline, moment: int = 0, durable: int = 0, events: int = 10**6) -> int:
        """Read so many events and hang up; how many moments had passed by then."""
        stream = ResponseStream(a_turn(), self.last)
        merge = AnswerMerge(EVENT_ID, stream.seen)
        head = list(stream.begin())[:events]
        for event in head:
            self.take(event)
        left = events - len(head)
        for passed, item in timeline.from_(moment, durable):
            for event in (event for part in merge.take(item) for event in stream.take(part)):
                if left <= 0:
                    return passed
                self.take(event)
                left -= 1
        return len(timeline.moments)


def read_whole(timeline: Timeline) -> Reader:
    reader = Reader()
    reader.read(timeline)
    return reader


def test_an_answer_comes_in_the_order_of_that_interface() -> None:
    reader = read_whole(Timeline([["Hel", "lo"]]))

    assert reader.types == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert reader.texts == {0: "Hello"}
    assert reader.response is not None
    assert reader.response["output"][0]["content"][0]["text"] == "Hello"


def test_what_an_attempt_repeats_is_told_once() -> None:
    reader = read_whole(Timeline([["Once ", "upon "], ["Once upon", " a time"]]))

    assert reader.texts == {0: "Once upon a time"}
    assert reader.statuses == {0: "completed"}


def test_an_attempt_that_says_something_else_is_another_item() -> None:
    reader = read_whole(Timeline([["Once ", "upon "], ["Two boats"]]))

    assert reader.texts == {0: "Once upon ", 1: "Two boats"}
    assert reader.statuses == {0: "incomplete", 1: "completed"}
    assert reader.response is not None
    assert [item["content"][0]["text"] for item in reader.response["output"]] == ["Two boats"]


def test_words_before_a_tool_was_used_are_a_whole_item() -> None:
    timeline = Timeline([["Let me look."], ["It is sunny."]])
    timeline.moments.insert(2, tool_result())

    reader = read_whole(timeline)

    assert reader.texts == {0: "Let me look.", 1: "It is sunny."}
    assert reader.statuses == {0: "completed", 1: "completed"}


def test_calls_that_are_asked_for_are_items_after_the_words() -> None:
    reader = read_whole(Timeline([["Well"]], final("Well", 1, tool_calls=CALLS, finish="tool_calls")))

    assert list(reader.statuses) == [0, 1, 2]
    assert reader.response is not None
    assert [item["type"] for item in reader.response["output"]] == ["message", "function_call", "function_call"]


def test_a_turn_that_fails_or_is_stopped_says_so_at_the_end() -> None:
    failed = read_whole(Timeline([["Once"]], ending(EventType.ERROR, "", None, reason="The model is away.")))
    stopped = read_whole(Timeline([["Once"]], ending(EventType.CANCELLED, "Once", 1, reason="You stopped it.")))
    unbegun = read_whole(Timeline([], ending(EventType.CANCELLED, "", None, reason="You stopped it.")))
    cut = read_whole(Timeline([["Once"]], final("Once", 1, finish="length")))

    assert failed.types[-1] == "response.failed"
    assert failed.response is not None
    assert failed.response["error"]["message"] == "The model is away."
    assert (stopped.types[-1], unbegun.types[-1]) == ("response.incomplete", "response.incomplete")
    assert stopped.response is not None
    assert stopped.response["status"] == "cancelled"
    assert cut.response is not None
    assert cut.response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_response_in_the_background_waits_in_line_first() -> None:
    stream = ResponseStream(a_turn(request=TurnRequest(echo={"background": True})))

    assert [event["type"] for event in stream.begin()] == [
        "response.created", "response.queued", "response.in_progress",
    ]  # fmt: skip


def test_a_place_is_read_from_its_number() -> None:
    place = ResponsePlace(7, 3, 9_000_001)

    assert place_at(place.number) == place


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba "]), max_size=5)
ATTEMPTS = st.lists(WORDS, min_size=1, max_size=4).filter(lambda attempts: attempts[-1])
CUTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 20)), max_size=6)


@given(ATTEMPTS, CUTS, st.booleans())
def test_wherever_a_reader_leaves_and_whenever_it_comes_back_it_gets_the_whole_answer(
    attempts: list[list[str]], cuts: list[tuple[int, int, int]], asks: bool
) -> None:
    """`cuts`: after how many events it leaves, how much later it returns, and how much of the text is kept by then."""
    timeline = Timeline(attempts)
    if asks:
        timeline = Timeline(attempts, final(timeline.text, len(attempts), tool_calls=CALLS, finish="tool_calls"))
    reader, moment, durable = Reader(), 0, 0

    for events, away, kept in cuts:
        moment = min(reader.read(timeline, moment, durable, events) + away, len(timeline.moments))
        durable = kept
    reader.read(timeline, moment, durable)

    assert reader.response is not None
    said = [item for item in reader.response["output"] if item["type"] == "message"]
    assert [item["content"][0]["text"] for item in said] == [timeline.text]
    number = len(reader.texts) - (len(CALLS) if asks else 0) - 1
    assert reader.texts[number] == timeline.text
    assert reader.statuses[number] == "completed"
    assert reader.types.count("response.completed") == 1

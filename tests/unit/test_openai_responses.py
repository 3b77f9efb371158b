"""A response: its input as text or items, what it goes on from, how it stands, and waiting for it."""

import itertools
from typing import Any

import pytest

from app.domain.answer_parts import Ended, Said, Silence
from app.domain.conversation import UserMessage
from app.domain.errors import NotFound
from app.domain.events import EventType
from app.domain.turn_request import TurnRequest
from app.services.follow_answer import AnswerRoom, follow_answer, turn_kept
from app.services.follow_session import StreamRoom
from app.services.openai_form import message_of
from app.services.openai_lines import told_in
from app.services.openai_refusal import Refused
from app.services.openai_response_form import (
    ResponseForm,
    previous_turn,
    response_request,
    response_told,
    turn_id,
)
from app.services.openai_responses import response_of
from tests.builders import a_final, a_message
from tests.fakes import InMemoryFeed, InMemoryStore
from tests.fakes_turn_book import InMemoryTurnBook
from tests.unit.openai_turns import a_turn, ending, final

CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}


def form(given: Any = "hello", **fields: Any) -> ResponseForm:
    return ResponseForm.model_validate({"input": given, **fields})


class Stage:
    """A store in which responses are made and answered."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.book = InMemoryTurnBook(self.store)
        self.feed = InMemoryFeed(self.store.clock)
        self.room = AnswerRoom(self.book, StreamRoom(self.store.stream_store(), self.feed, self.store.clock))
        presence = self.store.presence("w")
        presence.start()
        self.turns = self.store.turns(presence)

    def accept(self, asked: ResponseForm) -> UserMessage:
        previous = previous_turn(asked, self.book)
        told = response_told(asked, previous, self.store.transcripts())
        session_id = previous.session_id if previous else asked.session()
        message = message_of(asked, told, response_request(asked, told), session_id, "default", "public")
        self.store.inbox().accept(message, None)
        return message

    def answer(self, message: UserMessage, text: str = "hi", **metadata: Any) -> str:
        turn = self.turns.claim(message.event_id)
        assert turn is not None
        end = a_final(message.event_id, text)
        self.turns.finish(turn, end.__class__(**{**_fields(end), "metadata": metadata}), "done", None)
        return f"resp_{message.event_id}"


def _fields(end: Any) -> dict[str, Any]:
    return {name: getattr(end, name) for name in ("event_id", "type", "role", "message", "metadata", "also")}


def lines(message: UserMessage) -> list[tuple[str, str]]:
    return [(line.role, line.content) for line in message.request.lines]


def test_items_are_lines_and_calls_made_together_are_one() -> None:
    stage = Stage()
    told = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}, {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "well"}]},
        CALL, CALL | {"call_id": "c2"}, OUTPUT, OUTPUT | {"call_id": "c2", "output": "rainy"},
    ]  # fmt: skip

    message = stage.accept(form(told, instructions="Be kind."))

    assert lines(message) == [("user", "hi"), ("assistant", "well"), ("tool", "sunny"), ("tool", "rainy")]
    assert [ask.ask_id for ask in message.request.lines[1].asks] == ["c1", "c2"]
    assert (message.text, message.request.instructions) == ("sunny\nrainy", "Be kind.")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (["x"], "input[0]"),
        ([{"type": "item_reference", "id": "x"}], "input[0].type"),
        ([{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0]"),
        ([OUTPUT], "input"),
        ([], "input"),
        ("", "input"),
        ([CALL | {"arguments": {}}], "input[0].tool_calls[0].arguments"),
    ],
)
def test_what_is_no_input_is_refused_where_it_stands(given: Any, param: str) -> None:
    with pytest.raises(Refused) as refused:
        Stage().accept(form(given))

    assert refused.value.param == param


def test_wishes_are_passed_on_as_a_chat_completion_names_them() -> None:
    schema = {"type": "json_schema", "name": "a", "schema": {}}
    tool = {"type": "function", "name": "weather", "parameters": None}
    message = Stage().accept(
        form(
            tools=[tool], tool_choice={"type": "function", "name": "weather"}, text={"format": schema}, top_p=0.5,
            reasoning={"effort": "low"}, max_output_tokens=5,
        )
    )  # fmt: skip

    assert message.request.options == {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}, "top_p": 0.5,
        "reasoning_effort": "low",
    }  # fmt: skip
    assert message.request.tool_choice == {"type": "function", "function": {"name": "weather"}}
    assert message.request.output_tokens == 5
    assert response_of(a_turn(request=message.request))["tools"] == [tool]


def test_a_response_goes_on_from_the_words_and_calls_of_another_but_not_from_its_instructions() -> None:
    stage = Stage()
    first = stage.accept(form("one", instructions="Be kind."))
    calls = [{"id": "c1", "name": "weather", "arguments": "{}"}]

    second = stage.accept(form([OUTPUT], previous_response_id=stage.answer(first, "", tool_calls=calls)))

    assert lines(second) == [("user", "one"), ("assistant", ""), ("tool", "sunny")]
    assert (second.request.instructions, second.session_id) == ("", first.session_id)


def test_a_response_goes_on_from_an_ordinary_message_of_the_session() -> None:
    stage = Stage()
    first, second = a_message("one", "s-1"), a_message("two", "s-1")
    for message in (first, second):
        stage.store.inbox().accept(message, None)

    branch = stage.accept(form("more", previous_response_id=stage.answer(first)))

    assert lines(branch) == [("user", "one"), ("assistant", "hi"), ("user", "more")]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"previous_response_id": "resp_nobody"}, "previous_response_not_found"),
        ({"previous_response_id": "resp_x", "conversation": "s-1"}, None),
        ({"previous_response_id": "resp_x", "conversation": {"id": "s-1"}}, None),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(fields: dict[str, Any], code: str | None) -> None:
    with pytest.raises(Refused) as refused:
        Stage().accept(form(**fields))

    assert (refused.value.code, refused.value.param) == (code, "previous_response_id")


def test_a_response_that_is_not_finished_cannot_be_gone_on_from_yet() -> None:
    stage = Stage()
    first = stage.accept(form("one"))

    with pytest.raises(Refused) as refused:
        stage.accept(form("two", previous_response_id=f"resp_{first.event_id}"))

    assert refused.value.code == "response_not_finished"


def test_a_session_that_is_named_tells_its_own_history_unless_the_caller_does() -> None:
    stage, more = Stage(), [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]

    assert lines(stage.accept(form(conversation="s-1"))) == []
    assert lines(stage.accept(form(metadata={"session_id": "s-1"}))) == []
    assert lines(stage.accept(form(more, conversation="s-1"))) == [("user", "a"), ("user", "b")]
    assert lines(stage.accept(form(user="ann"))) == [("user", "hello")]
    assert lines(stage.accept(form("x" * 40_000, conversation="s-1"))) != []


def test_a_turn_has_one_name_for_every_route() -> None:
    assert turn_id("resp_a-b") == turn_id("chatcmpl-a-b") == turn_id("a-b") == "a-b"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "queued"),
        ({"state": "running"}, "in_progress"),
        ({"state": "done", "end": final("x", 1)}, "completed"),
        ({"state": "done", "end": final("x", 1, finish="length")}, "incomplete"),
        ({"state": "failed", "end": ending(EventType.ERROR, "", None, reason="Away.")}, "failed"),
        ({"state": "cancelled", "end": ending(EventType.CANCELLED, "x", 1, reason="You.")}, "cancelled"),
        ({"state": "failed", "end": ending(EventType.DENIED, "no", None, policy={"reason": "No."})}, "failed"),
    ],
)
def test_a_response_says_how_it_stands(fields: dict[str, Any], status: str) -> None:
    found = response_of(a_turn(**fields))

    assert found["status"] == status
    assert (found["error"] is not None) == (status == "failed")
    assert found["metadata"]["session_id"] == "s-1"


def test_waiting_outlives_an_outage_of_the_store() -> None:
    stage = Stage()
    message = stage.accept(form())
    looks: list[bool] = []

    def left() -> bool:
        looks.append(stage.store.down)
        stage.store.down = len(looks) in (1, 2, 4, 5)
        return len(looks) > 20

    turn = turn_kept(message.event_id, stage.room, left)
    assert turn is not None
    stage.feed.meanwhile.append(lambda: stage.answer(message, "hi", attempt=1))
    parts = [part for part in follow_answer(turn, stage.room, left) if not isinstance(part, Silence)]

    assert [type(part) for part in parts] == [Said, Ended]
    assert looks.count(True) >= 4


def test_a_turn_whose_session_was_deleted_before_it_was_read_is_not_waited_for() -> None:
    looks = itertools.count()

    with pytest.raises(NotFound, match="not there any more"):
        turn_kept("e-gone", Stage().room, lambda: next(looks) > 3)

    assert next(looks) == 1, "it is told at the first look"


def test_nobody_is_waited_for_who_has_left() -> None:
    stage = Stage()
    turn = a_turn()

    assert list(follow_answer(turn, stage.room, lambda: True)) == []
    assert turn_kept("e-1", stage.room, lambda: True) is None


def test_told_lines_begin_with_what_was_before() -> None:
    before = told_in([{"role": "user", "content": "a"}], "input").lines

    assert [line.content for line in told_in([{"role": "user", "content": "b"}], "input", before).lines] == ["a", "b"]
    assert TurnRequest(lines=before).as_json()["lines"][0]["content"] == "a"

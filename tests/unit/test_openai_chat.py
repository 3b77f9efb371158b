"""A chat completion: what may be asked, what is refused with a sentence, and how an answer is told."""

from typing import Any

import pytest

from app.domain.answer_parts import AnswerMerge, Ended, Silence
from app.domain.events import EventType
from app.domain.turn_request import TurnRequest
from app.services.openai_chat import BEGAN_ANEW, ChatStream, completion
from app.services.openai_chat_form import ChatForm, chat_request, chat_told
from app.services.openai_form import message_of, profile_of
from app.services.openai_refusal import Refused
from tests.unit.openai_turns import EVENT_ID, Timeline, a_turn, ending, final, tool_result

CALL = {"id": "c1", "name": "weather", "arguments": "{}"}
ASSISTANT_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
}


def form(*messages: Any, **fields: Any) -> ChatForm:
    return ChatForm.model_validate({"messages": list(messages) or [user("hello")], **fields})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def a_tool(name: str, parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def refusal(asked: ChatForm) -> Refused:
    with pytest.raises(Refused) as refused:
        chat_request(asked, chat_told(asked))
    assert str(refused.value).endswith((".", "-"))
    return refused.value


def test_instructions_are_apart_and_the_rest_is_the_conversation() -> None:
    told = chat_told(
        form(
            {"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}, user("one"),
            {"role": "system", "content": "now"},
            user([{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]),
        )
    )  # fmt: skip

    assert told.instructions == "Be brief.\n\nBe kind."
    assert [(line.role, line.content) for line in told.lines] == [
        ("user", "one"), ("system", "now"), ("user", "two\nthree"),
    ]  # fmt: skip
    assert told.question == "two\nthree"


def test_calls_and_results_are_kept_as_they_were_told() -> None:
    told = chat_told(form(user("hi"), ASSISTANT_CALL, {"role": "tool", "tool_call_id": "c1", "content": "sunny"}))

    asked, result = told.lines[1:]
    assert [(ask.ask_id, ask.tool, ask.arguments) for ask in asked.asks] == [("c1", "weather", "{}")]
    assert (result.role, result.answers, told.question) == ("tool", "c1", "sunny")


def test_wishes_are_passed_on() -> None:
    wishes = {"stop": ["a"], "seed": 7, "top_p": 0.5, "response_format": {"type": "json_object"}}
    asked = form(max_completion_tokens=9, temperature=1, tools=[a_tool("weather")], tool_choice="required", **wishes)

    request = chat_request(asked, chat_told(asked))

    assert (request.output_tokens, request.temperature, request.tool_choice) == (9, 1, "required")
    assert request.options == wishes
    assert [offer.name for offer in request.tools] == ["weather"]


@pytest.mark.parametrize(
    ("asked", "param", "word"),
    [
        (form(n=2), "n", "one answer"),
        (form(logprobs=True), "logprobs", "not possible"),
        (form(modalities=["audio"]), "modalities", "text"),
        (form(functions=[]), "functions", "tools"),
        (form("hello"), "messages[0]", "object"),
        (form({"role": "robot", "content": "x"}), "messages[0].role", "must be one of"),
        (form({"role": ["user"], "content": "x"}), "messages[0].role", "must be one of"),
        (form({"role": "user"}), "messages[0].content", "missing"),
        (form(user(7)), "messages[0].content", "text"),
        (form(user("  ")), "messages", "empty"),
        (form(user([{"type": "image_url", "image_url": {}}])), "messages[0].content[0]", "no images"),
        (form(user([{"type": "input_audio"}])), "messages[0].content[0]", "only text"),
        (form(user([7])), "messages[0].content[0]", "only text"),
        (form(user([{"type": "text"}])), "messages[0].content[0].text", "text"),
        (form(user("hi"), {"role": "assistant", "content": "x"}), "messages", "nothing to answer"),
        (form({"role": "system", "content": "x"}), "messages", "nothing to answer"),
        (form(user("hi"), {"role": "tool", "tool_call_id": "c9", "content": "x"}), "messages", "c9"),
        (form({"role": "tool", "content": "x"}), "messages[0].tool_call_id", "text"),
        (form({"role": "assistant", "tool_calls": 5}, user("x")), "messages[0].tool_calls", "list"),
        (form({"role": "assistant", "tool_calls": [5]}, user("x")), "messages[0].tool_calls[0]", "function"),
        (form(tools=[{"type": "web_search"}]), "tools[0].type", "function"),
        (form(tools=[a_tool("a b")]), "tools[0].name", "1 to 64"),
        (form(tools=[a_tool("a", 5)]), "tools[0].parameters", "schema"),
        (form(tool_choice="always"), "tool_choice", "required"),
        (form(tool_choice={"type": "function", "function": {"name": "a"}}), "tool_choice", "one function"),
    ],
)  # fmt: skip
def test_what_no_answer_can_hold_is_refused_where_it_stands(asked: ChatForm, param: str, word: str) -> None:
    refused = refusal(asked)

    assert (refused.status, refused.param) == (400, param)
    assert word in str(refused)


def test_unknown_fields_are_taken_and_named() -> None:
    assert form(store=True, service_tier="auto").ignored == ["service_tier", "store"]


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ({}, "default"),
        ({"model": "gpt-x"}, "default"),
        ({"model": "strong"}, "strong"),
        ({"model": "default", "metadata": {"agent_profile_id": "strong"}}, "strong"),
    ],
)
def test_the_model_names_a_profile(fields: dict[str, Any], profile: str) -> None:
    known = {"default": "default", "gpt-x": "default", "strong": "strong"}

    assert profile_of(form(**fields), known) == profile


@pytest.mark.parametrize("fields", [{"model": "gpt-99"}, {"metadata": {"agent_profile_id": 5}}])
def test_a_model_that_is_not_there_is_said_so(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        profile_of(form(**fields), {"default": "default"})

    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


def test_the_session_is_the_named_one_the_users_own_or_a_new_one() -> None:
    mail = form(user="ann@example.org")

    assert form(metadata={"session_id": "s-9"}, user="ann").session() == "s-9"
    assert form(user="ann").session() == "ann"
    assert mail.session() == mail.session()
    assert mail.session().startswith("user-")
    assert form().session() != form().session()
    with pytest.raises(Refused):
        form(metadata={"session_id": "a b"}).session()


def test_a_message_keeps_no_more_than_an_event_may_hold_and_the_request_keeps_all() -> None:
    asked = form(user("x" * 40_000), metadata={"tenant": "t1", "session_id": "s-9", "a": "b"})
    told = chat_told(asked)

    message = message_of(asked, told, chat_request(asked, told), "s-9", "strong", "public")

    assert len(message.text) == 32_000
    assert len(message.request.lines[0].content) == 40_000
    assert message.metadata == {"tenant": "t1", "a": "b", "agent_profile_id": "strong"}
    assert (message.tenant, message.tenant_named) == ("t1", True)


def test_a_whole_answer_tells_words_calls_and_what_was_spent() -> None:
    turn = a_turn(request=TurnRequest(echo={"model": "gpt-x"}))
    usage = {"input_tokens": 3, "output_tokens": 4}

    answer = completion(turn, final("", 1, tool_calls=[CALL], finish="tool_calls", usage=usage))

    (choice,) = answer["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": "{}"}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert (answer["model"], answer["object"]) == ("gpt-x", "chat.completion")


@pytest.mark.parametrize(
    ("kind", "metadata", "status", "words"),
    [
        (EventType.ERROR, {"reason": "The model is away."}, 502, "The model is away."),
        (EventType.CANCELLED, {"reason": "You stopped it."}, 409, "You stopped it."),
        (EventType.DENIED, {"policy": {"reason": "Not allowed."}}, 403, "Not allowed."),
        (EventType.DENIED, {}, 403, "This message was not answered."),
    ],
)
def test_a_turn_without_an_answer_is_an_error(
    kind: EventType, metadata: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        completion(a_turn(), ending(kind, "", None, **metadata))

    assert (refused.value.status, str(refused.value)) == (status, words)


def streamed(timeline: Timeline, **options: Any) -> list[dict[str, Any]]:
    stream, merge = ChatStream(a_turn(), **options), AnswerMerge(EVENT_ID)
    parts = [part for item in timeline.moments for part in merge.take(item)]
    return [stream.begin(), *(chunk for part in parts for chunk in stream.take(part))]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


def test_a_stream_tells_the_role_the_words_the_end_and_what_was_spent() -> None:
    chunks = streamed(Timeline([["Hel", "lo"]], final("Hello", 1, finish="length", usage={})), wants_usage=True)

    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert text_of(chunks) == "Hello"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 0)
    assert all("usage" in chunk for chunk in chunks)
    assert "usage" not in streamed(Timeline([["x"]]))[0]


def test_a_stream_waits_silently_until_a_new_attempt_has_caught_up() -> None:
    assert text_of(streamed(Timeline([["Once ", "upon "], [], ["Once", " upon a", " time"]]))) == "Once upon a time"


def test_a_stream_cannot_go_on_with_another_answer() -> None:
    with pytest.raises(Refused) as refused:
        streamed(Timeline([["Once ", "upon "], ["Once, two boats"]]))

    assert str(refused.value) == BEGAN_ANEW


def test_words_before_a_tool_was_used_stay_and_the_answer_follows() -> None:
    timeline = Timeline([["Let me look."], ["It is ", "sunny."]])
    timeline.moments.insert(2, tool_result())

    assert text_of(streamed(timeline)) == "Let me look.\n\nIt is sunny."


def test_calls_are_told_in_one_piece() -> None:
    chunks = streamed(Timeline([[]], final("", 1, tool_calls=[CALL], finish="tool_calls")))

    assert chunks[1]["choices"][0]["delta"]["tool_calls"][0] == {
        "index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"},
    }  # fmt: skip
    assert chunks[2]["choices"][0]["finish_reason"] == "tool_calls"


def test_other_turns_of_the_session_mean_nothing_and_silence_is_passed_on() -> None:
    other = {"type": "assistant.final", "event_id": "e-0:answer", "message": "x", "metadata": {"attempt": 1}}
    before = {"type": "assistant.delta", "event_id": None, "message": "of another", "metadata": {}}
    merge = AnswerMerge(EVENT_ID)

    assert [part for item in (before, other) for part in merge.take(item)] == []
    assert list(merge.take({"type": "ping"})) == [Silence()]
    assert isinstance(list(merge.take(final("x", 1)))[-1], Ended)

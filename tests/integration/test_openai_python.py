"""The official Python client, unmodified, on a gateway: chat, streams, tools, responses, errors."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from sqlalchemy import Engine

from tests.builders import an_id
from tests.integration.gateway_process import Answerer, Gateway
from tests.integration.openai_stage import Worker

HELLO: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CHAT_TOOL: Any = {"type": "function", "function": WEATHER}
TOOL: Any = {"type": "function", **WEATHER}


@pytest.fixture(scope="module")
def client(gateway: Gateway, answerer: Answerer, engine: Engine) -> Iterator[OpenAI]:
    worker = Worker(answerer, engine).start()
    with OpenAI(base_url=f"{gateway.base}/v1", api_key="anything", timeout=30) as made:
        yield made
    worker.stop()


def test_a_chat_is_answered_whole_with_what_was_spent(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="default", messages=HELLO, stop=["END"], temperature=0.5)

    (choice,) = answer.choices
    assert choice.message.content == "You said: hello"
    assert (choice.finish_reason, choice.message.role, answer.model) == ("stop", "assistant", "default")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 22)


def test_a_chat_streams_and_ends_with_what_was_spent(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="default", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == "You said: hello"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_callers_conversation_is_what_the_model_reads(client: OpenAI) -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "one"}]},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]

    answer = client.chat.completions.create(model="default", messages=messages)

    assert answer.choices[0].message.content == "You said: Be brief. | one | two | three"


def test_a_tool_of_the_caller_is_asked_for_and_its_result_is_understood(client: OpenAI) -> None:
    first = client.chat.completions.create(model="default", messages=HELLO, tools=[CHAT_TOOL])
    (call,) = first.choices[0].message.tool_calls or []
    assert (first.choices[0].finish_reason, call.type) == ("tool_calls", "function")
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Oslo"}')

    told = [*HELLO, first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    second = client.chat.completions.create(model="default", messages=told, tools=[CHAT_TOOL])

    assert second.choices[0].message.content == "It is sunny."


def test_a_streamed_tool_call_is_put_together_by_the_clients_own_accumulator(client: OpenAI) -> None:
    with client.chat.completions.stream(model="default", messages=HELLO, tools=[CHAT_TOOL]) as stream:
        stream.until_done()
        final = stream.get_final_completion()

    (call,) = final.choices[0].message.tool_calls or []
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city": "Oslo"}')
    assert final.choices[0].finish_reason == "tool_calls"


def test_a_response_is_answered_and_found_again(client: OpenAI) -> None:
    made = client.responses.create(model="default", input="hello", instructions="Be kind.", metadata={"a": "b"})

    assert (made.status, made.output_text) == ("completed", "You said: Be kind. | hello")
    assert made.usage is not None
    assert made.usage.total_tokens == 7 + len(made.output_text)
    found = client.responses.retrieve(made.id)
    assert found == made
    assert (found.instructions, (found.metadata or {})["a"]) == ("Be kind.", "b")


def test_a_response_goes_on_from_another(client: OpenAI) -> None:
    first = client.responses.create(model="default", input="one", instructions="Be kind.")
    second = client.responses.create(model="default", input="two", previous_response_id=first.id)
    third = client.responses.create(model="default", input="three", previous_response_id=second.id)

    assert second.output_text == "You said: one | You said: Be kind. | one | two"
    assert third.output_text.endswith("| two | " + second.output_text + " | three")
    assert (first.metadata or {})["session_id"] == (third.metadata or {})["session_id"]


def test_a_session_that_is_named_goes_on_by_itself(client: OpenAI) -> None:
    session_id = an_id("s-")
    client.responses.create(model="default", input="one", metadata={"session_id": session_id})
    again = client.responses.create(model="default", input="two", conversation=session_id)

    assert again.output_text == "You said: one | You said: one | two"


def test_a_response_streams_in_the_clients_own_order(client: OpenAI) -> None:
    with client.responses.stream(model="default", input="hello there") as stream:
        events = list(stream)
        final = stream.get_final_response()

    assert [event.type for event in events if event.type != "response.output_text.delta"] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert final.output_text == "You said: hello there"


def test_a_tool_of_the_caller_is_asked_for_in_a_response(client: OpenAI) -> None:
    with client.responses.stream(model="default", input="hello", tools=[TOOL]) as stream:
        first = stream.get_final_response()
    (call,) = first.output
    assert call.type == "function_call"

    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(model="default", input=[result], previous_response_id=first.id, tools=[TOOL])

    assert second.output_text == "It is sunny."


def test_a_response_in_the_background_is_resumed_at_every_event(client: OpenAI) -> None:
    made = client.responses.create(model="default", input="tell me more", background=True)
    assert made.status in ("queued", "in_progress")
    whole = list(client.responses.retrieve(made.id, stream=True))

    for number, event in enumerate(whole):
        rest = list(client.responses.retrieve(made.id, stream=True, starting_after=event.sequence_number))
        assert _text(whole[: number + 1]) + _text(rest) == _text(whole)
        assert [each.type for each in rest if _is_mark(each)] == [
            each.type for each in whole[number + 1 :] if _is_mark(each)
        ]


def _is_mark(event: Any) -> bool:
    return event.type != "response.output_text.delta"


def _text(events: list[Any]) -> str:
    return "".join(event.delta for event in events if not _is_mark(event))


def test_a_response_is_stopped(client: OpenAI) -> None:
    made = client.responses.create(model="default", input="hello", background=True, metadata={"hold": "yes"})
    stopped = client.responses.cancel(made.id)

    assert stopped.status == "cancelled"
    assert client.responses.retrieve(made.id).status == "cancelled"
    assert [event.type for event in client.responses.retrieve(made.id, stream=True)][-1] == "response.incomplete"


def test_the_models_are_listed(client: OpenAI) -> None:
    assert "default" in [model.id for model in client.models.list()]
    assert client.models.retrieve("default").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("somebody/else")


def test_errors_are_those_of_the_client(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-99", messages=HELLO)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_nobody")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="default", messages=[])
    assert wrong.value.param == "messages"


def test_the_same_key_gives_the_same_answer_and_no_second_turn(client: OpenAI) -> None:
    key, session_id = an_id("key-"), an_id("s-")
    asked: Any = {
        "model": "default", "messages": HELLO, "user": session_id, "extra_headers": {"Idempotency-Key": key},
    }  # fmt: skip

    first = client.chat.completions.create(**asked)
    again = client.chat.completions.create(**asked)

    assert again == first

"""Providers differ; the answer does not. The peer plays each one's ways, as they were seen on the wire."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.domain.dialogue import Answer, ModelCall, ToolAsk, ToolOffer, Usage, Utterance
from app.domain.errors import ModelRefused, ModelUnavailable
from tests.unit.model_peer import Line, Reply
from tests.unit.model_rig import LINES, ModelRig, in_turn, told, whole

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = ToolOffer("weather", "Says the weather", SCHEMA)
WITH_TOOLS = ModelCall(LINES, (WEATHER,))
JSON = {"Content_Type": "application/json"}


def chunk(delta: Any, finish: str | None = None, **fields: Any) -> Callable[[Line], None]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return lambda line: line.event({"id": "c-1", "object": "chat.completion.chunk", "choices": [choice], **fields})


def done(line: Line) -> None:
    line.event("[DONE]")


def call_part(index: int | None = 0, ask_id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    """A piece of a call as it stands in a delta; what is None is left out."""
    part: dict[str, Any] = {"function": {}}
    for key, value in (("index", index), ("id", ask_id)):
        part |= {} if value is None else {key: value}
    for key, value in (("name", name), ("arguments", arguments)):
        part["function"] |= {} if value is None else {key: value}
    return {"tool_calls": [part]}


def answer_to(endpoints: ModelRig, reply: Reply, call: ModelCall = WITH_TOOLS, **variables: str) -> Answer:
    return whole(endpoints.stream(endpoints.profile(endpoints.peer(reply).base, **variables), call, **variables))[1]


def refusing(refused: dict[str, str], status: int = 400) -> Reply:
    """An endpoint that refuses requests with these fields, in these words."""

    def reply(line: Line) -> None:
        for field, words in refused.items():
            if field in line.body:
                line.answer(status, json.dumps({"error": {"message": words, "param": field}}).encode(), **JSON)
                return
        line.begin()
        line.say("hi", finish="stop")

    return reply


# ---- what is asked


def test_tools_choice_options_and_the_profiles_own_arguments_are_sent(endpoints: ModelRig) -> None:
    peer = endpoints.peer(in_turn(chunk({"content": "hi"}, "stop")))
    profile = replace(endpoints.profile(peer.base), extra={"top_k": 20, "seed": 1, "model": "another", "n": None})
    call = ModelCall(LINES, (WEATHER,), "auto", 9, 1.5, {"seed": 7, "stop": ["#"], "stream": False})

    whole(endpoints.stream(profile, call))

    body = peer.lines[0].body
    function = {"name": "weather", "description": "Says the weather", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert (body["tool_choice"], body["max_tokens"], body["temperature"]) == ("auto", 9, 1.5)
    assert (body["top_k"], body["seed"], body["stop"]) == (20, 7, ["#"])
    assert (body["model"], body["stream"]) == ("tiny", True)
    assert "n" not in body


def test_calls_and_their_results_go_back_as_the_interface_wants_them(endpoints: ModelRig) -> None:
    asks = (ToolAsk("c-1", "weather", '{"city": "Bonn"}'), ToolAsk("c-2", "weather", "{city"))
    lines = [*LINES, Utterance("assistant", "", asks), Utterance("tool", "sunny", answers="c-1")]
    peer = endpoints.peer(in_turn(chunk({"content": "hi"}, "stop")))

    whole(endpoints.stream(endpoints.profile(peer.base), ModelCall(lines)))

    _, _, asked, answered = peer.lines[0].body["messages"]
    assert asked["content"] is None
    assert asked["tool_calls"][0] == {
        "id": "c-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}
    }  # fmt: skip
    assert json.loads(asked["tool_calls"][1]["function"]["arguments"]) == {"unreadable": "{city"}
    assert answered == {"role": "tool", "content": "sunny", "tool_call_id": "c-1"}


def test_azure_gets_its_path_its_version_and_its_key_in_a_header_of_its_own(endpoints: ModelRig) -> None:
    peer = endpoints.peer(in_turn(chunk({"content": "hi"}, "stop", model="gpt-4o-2024-08-06")))
    path = "openai/deployments/d-1/chat/completions?api-version=2024-10-21"
    profile = replace(endpoints.profile(peer.base, LLM_API_KEY="k-1"), base_url=peer.base[:-3], path=path, model="")

    answer = whole(endpoints.stream(profile))[1]

    (line,) = peer.lines
    assert line.path == f"/{path}"
    assert (line.headers["api-key"], line.headers.get("authorization")) == ("k-1", None)
    assert "model" not in line.body
    assert answer.source == "gpt-4o-2024-08-06"


@pytest.mark.parametrize("path", ["http://elsewhere.test/x", "//elsewhere.test/x"])
def test_a_path_cannot_lead_the_key_to_another_host(endpoints: ModelRig, path: str) -> None:
    peer = endpoints.peer(in_turn(chunk({"content": "hi"}, "stop")))

    whole(endpoints.stream(replace(endpoints.profile(peer.base), path=path)))

    assert peer.lines[0].headers["host"] in peer.base


FIELDS = {
    "stream_options": "Unrecognized request argument supplied: stream_options",
    "temperature": "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value",
    "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
    "tools": "registry.ollama.ai/library/tiny does not support tools",
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_an_endpoint_does_not_know_is_left_out_from_then_on(endpoints: ModelRig, field: str) -> None:
    peer = endpoints.peer(refusing({field: FIELDS[field]}))
    profile = endpoints.profile(peer.base)

    for _ in range(2):
        assert whole(endpoints.stream(profile, WITH_TOOLS))[1].text == "hi"

    assert [field in line.body for line in peer.lines] == [True, False, False]
    if field == "max_tokens":
        assert peer.lines[1].body["max_completion_tokens"] == 1024


def test_an_endpoint_that_knows_nothing_is_asked_without_everything(endpoints: ModelRig) -> None:
    assert answer_to(endpoints, refusing(FIELDS)).text == "hi"


@pytest.mark.parametrize(
    "words",
    [
        "'max_tokens' is too large: 90000. This model's maximum context length is 4096 tokens, unsupported",
        "Invalid 'temperature': decimal above maximum value",
        "Invalid schema for function 'weather': tools[0].function.parameters is unexpected",
    ],
)
def test_a_complaint_about_a_value_is_told_and_teaches_nothing(endpoints: ModelRig, words: str) -> None:
    peer = endpoints.peer(lambda line: line.answer(400, json.dumps({"error": {"message": words}}).encode(), **JSON))

    with pytest.raises(ModelRefused, match=r"says .*(maximum|Invalid)"):
        whole(endpoints.stream(endpoints.profile(peer.base), WITH_TOOLS))

    assert len(peer.lines) == 1


def test_who_insists_on_a_tool_hears_that_there_are_none(endpoints: ModelRig) -> None:
    with pytest.raises(ModelRefused, match="does not support tools"):
        answer_to(endpoints, refusing({"tools": FIELDS["tools"]}), replace(WITH_TOOLS, tool_choice="required"))


# ---- what comes


FINISHES = {"stop": "stop", "length": "length", "content_filter": "content_filter", "eos": "stop", "end_turn": "stop"}


@pytest.mark.parametrize("finish", FINISHES)
def test_every_reason_to_end_is_one_of_four(endpoints: ModelRig, finish: str) -> None:
    assert answer_to(endpoints, in_turn(chunk({"content": "hi"}), chunk({}, finish), done)).finish == FINISHES[finish]


def test_done_alone_ends_an_answer_too(endpoints: ModelRig) -> None:
    assert answer_to(endpoints, in_turn(chunk({"content": "hi"}), done)) == Answer("hi", "tiny")


def test_neither_done_nor_a_reason_is_a_cut(endpoints: ModelRig) -> None:
    with pytest.raises(ModelUnavailable, match="broke off"):
        answer_to(endpoints, in_turn(chunk({"content": "hi"})))


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def test_usage_in_every_chunk_is_that_of_the_last(endpoints: ModelRig) -> None:
    reply = in_turn(
        chunk({"content": "a"}, **usage(5, 1)), chunk({"content": "b"}, "stop", **usage(5, 2)), chunk({}, usage=None)
    )

    assert answer_to(endpoints, reply).usage == Usage(5, 2)


@pytest.mark.parametrize("number", [-3, 1e400, "12", None])
def test_a_figure_that_cannot_be_is_no_reason_to_lose_sense(endpoints: ModelRig, number: Any) -> None:
    reply = in_turn(chunk({"content": "a"}, "stop", usage={"prompt_tokens": number, "completion_tokens": 10**30}))

    try:
        found = answer_to(endpoints, reply).usage
    except ModelUnavailable as error:
        told(error)
    else:
        assert (0 <= found.input_tokens <= 12, found.output_tokens) == (True, 1_000_000_000)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_what_a_model_thinks_is_no_part_of_what_it_says(endpoints: ModelRig, field: str) -> None:
    reply = in_turn(chunk({field: "hm"}), chunk({field: "hm", "content": None}), chunk({"content": "hi"}, "stop"))

    assert answer_to(endpoints, reply).text == "hi"


def test_thoughts_in_the_text_stay_where_they_are(endpoints: ModelRig) -> None:
    assert answer_to(endpoints, in_turn(chunk({"content": "<think>x</think>hi"}, "stop"))).text == "<think>x</think>hi"


def test_words_may_come_as_a_list_of_parts(endpoints: ModelRig) -> None:
    parts = [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "h"}, {"type": "text", "text": "i"}]

    assert answer_to(endpoints, in_turn(chunk({"content": parts}, "stop"))).text == "hi"


def test_a_refusal_is_an_answer(endpoints: ModelRig) -> None:
    assert answer_to(endpoints, in_turn(chunk({"refusal": "I will not."}, "stop"))).text == "I will not."


def test_an_endpoint_that_does_not_stream_answers_at_once(endpoints: ModelRig) -> None:
    message = {"role": "assistant", "content": "hi", "tool_calls": None}
    body = {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}], **usage(3, 1)}

    answer = answer_to(endpoints, lambda line: line.answer(200, json.dumps(body).encode(), **JSON))

    assert answer == Answer("hi", "tiny", Usage(3, 1))


@pytest.mark.parametrize(("finish", "words"), [("length", "allow it more"), ("content_filter", "withheld the answer")])
def test_nothing_with_a_reason_is_told_with_the_reason(endpoints: ModelRig, finish: str, words: str) -> None:
    with pytest.raises(ModelRefused, match=words):
        answer_to(endpoints, in_turn(chunk({}, finish), done))


# ---- calls of tools


BONN, ROME = '{"city": "Bonn"}', '{"city": "Rome"}'
ONE = (("weather", BONN),)
TWO = (("weather", BONN), ("weather", ROME))
CALLS: dict[str, tuple[Any, list[Any]]] = {
    "OpenAI: a head, then arguments in pieces": (ONE, [
        call_part(0, "a", "weather", ""), call_part(0, arguments='{"city"'), call_part(0, arguments=': "Bonn"}'),
    ]),
    "OpenAI: two at once, mixed": (TWO, [
        call_part(0, "a", "weather", ""), call_part(1, "b", "weather", ""), call_part(1, arguments=ROME[:5]),
        call_part(0, arguments=BONN), call_part(1, arguments=ROME[5:]),
    ]),
    "Ollama: whole, every one numbered 0": (TWO, [
        call_part(0, "a", "weather", BONN), call_part(0, "b", "weather", ROME)]),
    "llama.cpp: whole, without ids": (TWO, [call_part(0, None, "weather", BONN), call_part(1, None, "weather", ROME)]),
    "vLLM: the id and the name in every piece": (ONE, [
        call_part(0, "a", "weather", BONN[:4]), call_part(0, "a", "weather", BONN[4:])]),
    "vLLM: another id for every piece": (ONE, [
        call_part(0, "a", "weather", ""), call_part(0, "b", None, BONN[:4]), call_part(0, "c", None, BONN[4:])]),
    "LiteLLM: no numbers": (TWO, [
        call_part(None, "a", "weather", BONN[:3]), call_part(None, None, None, BONN[3:]),
        call_part(None, "b", "weather", ROME)]),
    "neither numbers nor ids": (TWO, [
        call_part(None, None, "weather", BONN), call_part(None, None, "weather", ROME)]),
    "no numbers, the id in every piece": (ONE, [
        call_part(None, "a", "weather", BONN[:3]), call_part(None, "a", None, BONN[3:])]),
    "an id twice": (TWO, [call_part(0, "a", "weather", BONN), call_part(1, "a", "weather", ROME)]),
    "a name in pieces": (ONE, [call_part(0, "a", "wea", ""), call_part(0, None, "ther", BONN)]),
    "arguments as an object": (ONE, [call_part(0, "a", "weather", {"city": "Bonn"})]),
    "the older way": (ONE, [
        {"function_call": {"name": "weather", "arguments": ""}}, {"function_call": {"arguments": BONN}}]),
}  # fmt: skip


@pytest.mark.parametrize("finish", ["tool_calls", "function_call", "stop"])
@pytest.mark.parametrize("way", CALLS)
def test_calls_of_tools_are_put_together_whatever_pieces_they_come_in(
    endpoints: ModelRig, way: str, finish: str
) -> None:
    expected, deltas = CALLS[way]

    answer = answer_to(endpoints, in_turn(*(chunk(delta) for delta in deltas), chunk({}, finish), done))

    assert tuple((ask.tool, ask.arguments) for ask in answer.asks) == expected
    assert (answer.text, answer.finish) == ("", "tool_calls")
    ids = {ask.ask_id for ask in answer.asks}
    assert len(ids) == len(expected)
    assert all(ids)


@pytest.mark.parametrize(("sent", "kept"), [("{not json", "{not json"), ("", "{}"), ("[1]", "[1]"), ("\x00", "\ufffd")])
def test_arguments_that_are_no_json_are_for_whoever_runs_the_tool(endpoints: ModelRig, sent: str, kept: str) -> None:
    reply = in_turn(chunk(call_part(0, "a", "nowhere", sent), "tool_calls"))

    assert answer_to(endpoints, reply).asks == (ToolAsk("a", "nowhere", kept),)


def test_ten_thousand_calls_are_refused_in_a_sentence(endpoints: ModelRig) -> None:
    def reply(line: Line) -> None:
        line.begin()
        for number in range(10_000):
            chunk(call_part(number, f"c-{number}", "weather", BONN))(line)
        chunk({}, "tool_calls")(line)

    with pytest.raises(ModelUnavailable, match="more than 128 tools"):
        answer_to(endpoints, reply)


def test_ten_megabytes_of_text_are_refused_in_a_sentence(endpoints: ModelRig) -> None:
    with pytest.raises(ModelUnavailable, match="too long to be kept"):
        answer_to(endpoints, in_turn(chunk({"content": "x" * 10_000_000}, "stop")))


def test_a_line_without_end_does_not_fill_the_memory(endpoints: ModelRig) -> None:
    def reply(line: Line) -> None:
        line.begin()
        for _ in range(80):
            line.send(b"x" * 1_000_000)

    with pytest.raises(ModelUnavailable, match="more than an answer can be"):
        answer_to(endpoints, reply, LLM_FIRST_TOKEN_SECONDS="60", LLM_TIMEOUT_SECONDS="60")


@pytest.mark.parametrize(
    "delta",
    [{"tool_calls": "x"}, {"tool_calls": [7]}, {"tool_calls": [{"function": "x"}]}, {"content": 7}, {"content": {}}],
    ids=str,
)
def test_what_is_no_call_is_no_answer(endpoints: ModelRig, delta: Any) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        answer_to(endpoints, in_turn(chunk(delta, "tool_calls")))

    told(caught.value)


def test_nesting_without_end_is_no_answer(endpoints: ModelRig) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        answer_to(endpoints, in_turn(lambda line: line.event("[" * 200_000)))

    told(caught.value)


# ---- when it goes wrong


def test_a_pause_may_be_asked_for_as_a_date(endpoints: ModelRig) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    with pytest.raises(ModelUnavailable) as caught:
        answer_to(endpoints, lambda line: line.answer(429, b"{}", Retry_After=until))

    assert 50 < (caught.value.retry_after or 0) <= 60


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "model 'x' not found"}}, "model 'x' not found"),
        ({"error": "model requires more memory"}, "model requires more memory"),
        ({"message": "no such deployment"}, "no such deployment"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"error": {"message": 'says "no"\n\x1b[31m ' + "x" * 9_000}}, "says 'no' [31m xxx"),
    ],
)
def test_the_providers_own_words_are_told(endpoints: ModelRig, body: Any, said: str) -> None:
    with pytest.raises(ModelRefused) as caught:
        answer_to(endpoints, lambda line: line.answer(404, json.dumps(body).encode(), **JSON))

    assert said in told(caught.value)
    assert len(told(caught.value)) < 400


SECRETS = [
    "k-secret-1", "sk-abcDEF123456", "sk-ab***9z", "http://10.2.3.4:8000/v1", "10.2.3.4", "[fd00::1]:80", "gpu-7:8000",
    "/srv/models/tiny.gguf", "Bearer abcdefgh", "0123456789abcdef0123456789abcdef",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_no_secret_is_quoted(endpoints: ModelRig, secret: str, status: int) -> None:
    body = json.dumps({"error": {"message": f"wrong with {secret} today"}}).encode()

    with pytest.raises((ModelRefused, ModelUnavailable)) as caught:
        answer_to(endpoints, lambda line: line.answer(status, body, **JSON), LLM_API_KEY="k-secret-1")

    assert 'says "wrong with … today"' in told(caught.value)


def test_an_endpoint_that_fails_again_and_again_is_not_asked_for_a_moment(endpoints: ModelRig) -> None:
    peer = endpoints.peer(lambda line: line.answer(500, b""))
    profile = endpoints.profile(peer.base)
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="500"):
            list(endpoints.stream(profile))

    with pytest.raises(ModelUnavailable, match="left alone") as caught:
        list(endpoints.stream(profile))

    assert len(peer.lines) == 5
    assert told(caught.value)
    assert (caught.value.retry_after or 0) >= 1


def test_a_refusal_or_a_wish_for_a_pause_spares_nobody(endpoints: ModelRig) -> None:
    peer = endpoints.peer(lambda line: line.answer(429, b"", Retry_After="1"))
    profile = endpoints.profile(peer.base)
    for _ in range(7):
        with pytest.raises(ModelUnavailable, match="429"):
            list(endpoints.stream(profile))


def test_keep_alives_do_not_count_as_a_beginning(endpoints: ModelRig) -> None:
    def reply(line: Line) -> None:
        line.begin()
        while not line.wait(0.02):
            line.send(b": processing\n\n")

    with pytest.raises(ModelUnavailable, match="took too long"):
        answer_to(endpoints, reply, LLM_FIRST_TOKEN_SECONDS="0.3", LLM_TIMEOUT_SECONDS="60")


def test_who_has_begun_has_the_whole_time(endpoints: ModelRig) -> None:
    def reply(line: Line) -> None:
        line.begin()
        chunk({"reasoning": "hm"})(line)
        line.wait(2.5)
        chunk({"content": "hi"}, "stop")(line)

    assert answer_to(endpoints, reply, LLM_FIRST_TOKEN_SECONDS="2").text == "hi"


def test_an_inner_address_is_hung_up_on_where_policy_forbids_it(endpoints: ModelRig) -> None:
    peer = endpoints.peer(in_turn(chunk({"content": "hi"}, "stop")))

    with pytest.raises(ModelRefused, match="LLM_ALLOW_PRIVATE"):
        list(endpoints.stream(endpoints.profile(peer.base), LLM_ALLOW_PRIVATE="false"))

    assert peer.lines == [], "something was sent"

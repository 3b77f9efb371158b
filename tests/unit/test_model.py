"""The model's client against an endpoint that misbehaves in every way: always an end, always a sentence for people."""

import threading
import time
from typing import Any

import pytest

from app.adapters.stop_watch import Wish
from app.domain.conversation_control import Why
from app.domain.dialogue import Answer, Usage
from app.domain.errors import ModelRefused, ModelUnavailable
from tests.unit.model_peer import Line, ModelPeer, Reply
from tests.unit.model_rig import TRACE, in_turn, told, whole


def test_pieces_come_as_they_are_said_and_the_answer_is_their_sum(ask: Any, peers: list[ModelPeer]) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say("Hé", "llo ", "\U0001f600", finish="stop")
        line.event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}})
        line.event("[DONE]")

    texts, answer = whole(ask(reply, LLM_API_KEY="k-1", LLM_MAX_OUTPUT_TOKENS="7"))

    assert texts == ["Hé", "llo ", "\U0001f600"]
    assert answer == Answer("Héllo \U0001f600", "tiny", Usage(11, 3))
    request = peers[0].lines[0]
    assert request.body["messages"] == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    assert (request.body["model"], request.body["stream"], request.body["max_tokens"]) == ("tiny", True, 7)
    assert (request.headers["authorization"], request.headers["traceparent"]) == ("Bearer k-1", TRACE)


def test_the_first_piece_does_not_wait_for_the_last(ask: Any, peers: list[ModelPeer]) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say("first")
        line.wait(60)

    pieces = ask(reply)

    assert next(pieces).text == "first"
    pieces.close()
    assert peers[0].left.wait(5), "the connection stayed open after nobody listened any more"


def test_an_endpoint_that_reports_no_usage_is_fine(ask: Any) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say("hi", finish="stop")
        line.event("[DONE]")

    assert whole(ask(reply))[1] == Answer("hi", "tiny", Usage())


def test_an_endpoint_that_forgets_done_is_fine(ask: Any) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say("hi ", "there", finish="length")

    assert whole(ask(reply))[1].text == "hi there"


def test_comments_and_role_chunks_are_no_words(ask: Any) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.send(b": keep-alive\n\n")
        line.event({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
        line.event({"choices": [{"index": 0, "delta": {"content": None}, "finish_reason": None}]})
        line.send(b": keep-alive\n\n")
        line.say("hi", finish="stop")
        line.event("[DONE]")

    assert whole(ask(reply)) == (["hi"], Answer("hi", "tiny", Usage()))


def test_without_a_name_the_first_listed_model_is_asked_for_once(ask: Any, peers: list[ModelPeer]) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say(line.body["model"], finish="stop")

    assert whole(ask(reply, listed=[{"id": "first"}, {"id": "second"}], LLM_MODEL=""))[1].text == "first"


@pytest.mark.parametrize("models", [[], None, [{}], "x", [7]], ids=str)
def test_an_endpoint_without_a_model_is_refused_or_unavailable(ask: Any, models: Any) -> None:
    with pytest.raises((ModelRefused, ModelUnavailable)) as caught:
        list(ask(lambda line: line.answer(500, b""), listed=models, LLM_MODEL=""))

    told(caught.value)


def cut_off(line: Line) -> None:
    line.begin()
    line.say("Once upon", " a")


def nothing(line: Line) -> None:
    line.begin()
    line.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    line.event("[DONE]")


def half_a_chunk(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n40\r\ndata: {")


BROKEN: dict[str, Reply] = {
    "cut off in the middle": cut_off,
    "an answer of nothing": nothing,
    "half a chunk": half_a_chunk,
    "nothing at all": lambda line: None,
    "an empty stream": lambda line: line.begin(),
    "not HTTP": lambda line: line.send(b"\x00\xff garbage\r\n\r\n"),
    "HTML": lambda line: line.answer(200, b"<html>login</html>", Content_Type="text/html"),
    "not JSON": in_turn(lambda line: line.event("{nonsense")),
    "not UTF-8": in_turn(lambda line: line.send(b"data: \xff\xfe\n\n")),
    "a list": in_turn(lambda line: line.event([1])),
    "a number": in_turn(lambda line: line.event("7")),
    "choices of text": in_turn(lambda line: line.event({"choices": "abc"})),
    "a choice of nothing": in_turn(lambda line: line.event({"choices": [None]})),
    "a delta of text": in_turn(lambda line: line.event({"choices": [{"delta": "x"}]})),
    "words that are numbers": in_turn(lambda line: line.say(7, finish="stop")),
    "words that are lists": in_turn(lambda line: line.say(["x"], finish="stop")),
    "usage of text": in_turn(lambda line: line.event({"choices": [], "usage": "x"})),
    "an error inside the stream": in_turn(lambda line: line.event({"error": {"message": "boom at 10.0.0.1"}})),
    "500": lambda line: line.answer(500, b"boom"),
    "502 with HTML": lambda line: line.answer(502, b"<html>"),
    "a redirect": lambda line: line.answer(302, b"", Location="http://127.0.0.1:1/"),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
def test_whatever_is_broken_is_unavailable_with_a_sentence(ask: Any, reply: Reply) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        list(ask(reply))

    told(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final_and_says_what_to_check(ask: Any, status: int) -> None:
    body = b'{"error": {"message": "no such thing at 127.0.0.1"}}'

    with pytest.raises(ModelRefused) as caught:
        list(ask(lambda line: line.answer(status, body, Content_Type="application/json")))

    assert ("LLM_API_KEY" if status in (401, 403) else "LLM_MODEL") in told(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999", 300.0),
        ("1" * 400, 300.0),
        ("soon", None),
        ("²", None),
        ("-1", None),
        ("", None),
    ],
)
def test_a_busy_endpoint_may_wish_for_a_pause_within_reason(ask: Any, header: str, seconds: float | None) -> None:
    headers = {"Retry-After": header.encode().decode("latin-1")} if header else {}

    with pytest.raises(ModelUnavailable) as caught:
        list(ask(lambda line: line.answer(429, b"{}", **headers)))

    assert caught.value.retry_after == seconds


def test_nobody_there_is_unavailable_at_once(ask: Any, peers: list[ModelPeer]) -> None:
    pieces = ask(lambda line: None)
    peers[0].close()
    began = time.monotonic()

    with pytest.raises(ModelUnavailable) as caught:
        list(pieces)

    assert "could not be reached" in told(caught.value)
    assert time.monotonic() - began < 4


def test_silence_ends_after_the_longest_silence(ask: Any) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say("Once")
        line.wait(60)

    began = time.monotonic()
    with pytest.raises(ModelUnavailable) as caught:
        list(ask(reply, LLM_IDLE_SECONDS="0.3"))

    told(caught.value)
    assert time.monotonic() - began < 5


def test_silence_before_the_first_byte_ends_too(ask: Any) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        list(ask(lambda line: line.wait(60), LLM_IDLE_SECONDS="0.3"))

    told(caught.value)


@pytest.mark.parametrize("begun", [True, False])
def test_a_wish_to_stop_hangs_up_also_in_the_middle_of_a_silence(ask: Any, peers: list[ModelPeer], begun: bool) -> None:
    heard, hung_up = threading.Event(), threading.Event()

    def reply(line: Line) -> None:
        if begun:
            line.begin()
            line.say("Once")
        heard.set()
        if line.wait(60):
            hung_up.set()

    wish = Wish()
    pieces = ask(reply, stop=wish)
    threading.Thread(target=lambda: (heard.wait(20), wish.make(Why.CANCELLED))).start()

    with pytest.raises(ModelUnavailable):
        list(pieces)

    assert hung_up.wait(2)


def test_a_wish_that_was_made_before_asks_nobody_for_long(ask: Any) -> None:
    wish = Wish()
    wish.make(Why.CANCELLED)
    began = time.monotonic()

    with pytest.raises(ModelUnavailable):
        list(ask(lambda line: line.wait(60), stop=wish))

    assert time.monotonic() - began < 4


def drip(line: Line, drop: bytes) -> None:
    while not line.wait(0.02):
        line.send(drop)


def dripping_comments(line: Line) -> None:
    line.begin()
    drip(line, b": still here\n\n")


def dripping_words(line: Line) -> None:
    line.begin()
    line.say("x")
    drip(line, b'data: {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": null}]}\n\n')


def dripping_without_a_line_end(line: Line) -> None:
    line.begin()
    drip(line, b"x")


def dripping_headers(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n")
    drip(line, b"X-More: x\r\n")


def dripping_in_chunks(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    drip(line, b"3\r\n:x\n\r\n")


@pytest.mark.parametrize(
    "reply", [dripping_comments, dripping_words, dripping_without_a_line_end, dripping_in_chunks, dripping_headers]
)
def test_a_drip_ends_at_the_deadline(ask: Any, reply: Reply) -> None:
    began = time.monotonic()

    with pytest.raises(ModelUnavailable) as caught:
        list(ask(reply, LLM_TIMEOUT_SECONDS="0.6"))

    assert "took too long" in told(caught.value)
    assert time.monotonic() - began < 5


def test_a_name_that_drips_in_ends_at_the_deadline(ask: Any, peers: list[ModelPeer]) -> None:
    pieces = ask(dripping_headers, LLM_TIMEOUT_SECONDS="0.6", LLM_MODEL="")
    peers[0].list_models = dripping_headers
    began = time.monotonic()

    with pytest.raises(ModelUnavailable) as caught:
        list(pieces)

    assert "took too long" in told(caught.value)
    assert time.monotonic() - began < 5


def test_text_that_cannot_be_stored_is_replaced_character_by_character(ask: Any) -> None:
    def reply(line: Line) -> None:
        line.begin()
        line.say("a\x00b", "\ud83d", "\ude00", finish="stop")

    texts, answer = whole(ask(reply))

    assert texts == ["a\ufffdb", "\ufffd", "\ufffd"]
    assert answer.text == "a\ufffdb\ufffd\ufffd"


def test_an_answer_that_never_ends_is_cut_off_before_it_is_too_large_to_keep(ask: Any) -> None:
    def reply(line: Line) -> None:
        line.begin()
        for _ in range(200):
            line.say("x" * 10_000)
        line.say("x", finish="stop")

    with pytest.raises(ModelUnavailable) as caught:
        list(ask(reply))

    assert "too long" in told(caught.value)

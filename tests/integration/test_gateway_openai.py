"""The OpenAI interface at its door: what is wrong is said in its own shape, and what was kept is never lost."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.adapters.scribe import EVERY_SECONDS
from app.domain.errors import ModelUnavailable
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Answerer, Gateway
from tests.integration.openai_stage import Worker

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
HELLO = [{"role": "user", "content": "hello"}]
Event = dict[str, Any]


def post(gateway: Gateway, path: str, body: Any, **headers: str) -> requests.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.call("POST", path, data=raw, headers={"Content-Type": "application/json", **headers})


def begin(gateway: Gateway, **fields: Any) -> str:
    """The message id of a response in the background."""
    answer = post(gateway, RESPONSES, {"input": "hello", "background": True, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"]).removeprefix("resp_")


def error_of(answer: requests.Response, status: int) -> dict[str, Any]:
    """The error in an answer, which is fit for people and for the official clients."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json()) == ["error"]
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith((".", "-")), error
    return error


@contextmanager
def following(gateway: Gateway, event_id: str, after: int | None = None) -> Iterator[Iterator[Event]]:
    """The events of a response's stream."""
    query = {"stream": "true"} | ({} if after is None else {"starting_after": str(after)})
    url = f"{gateway.base}{RESPONSES}/resp_{event_id}"
    with requests.get(url, params=query, stream=True, timeout=30) as answer:
        assert answer.status_code == 200, answer.text
        yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data: "))


def said(events: list[Event]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        ({"model": "default"}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": HELLO, "temperature": "hot"}, "temperature"),
        ({"messages": HELLO, "temperature": 3}, "temperature"),
        ({"messages": HELLO, "n": 2}, "n"),
        ({"messages": HELLO, "metadata": {"tenant": ""}}, "metadata"),
        ({"messages": HELLO, "metadata": {"session_id": "a b"}}, "metadata.session_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        (b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', None),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', None),
    ],
)
def test_what_is_wrong_is_said_in_the_shape_of_that_interface(gateway: Gateway, body: Any, param: str | None) -> None:
    error = error_of(post(gateway, CHAT, body), 400)

    assert (error["param"], error["type"]) == (param, "invalid_request_error")


def test_so_are_errors_that_no_route_of_it_found(gateway: Gateway) -> None:
    error_of(gateway.get(CHAT), 405)
    error_of(gateway.get(f"{RESPONSES}/resp_nobody"), 404)
    error_of(gateway.get(f"{RESPONSES}/resp_nobody/else"), 404)
    error_of(post(gateway, CHAT, b" " * 1_048_600), 413)
    error_of(gateway.call("POST", CHAT, data=b"hello"), 415)
    error_of(post(gateway, CHAT, {"messages": HELLO}, **{"Idempotency-Key": "x" * 300}), 400)
    assert error_of(post(gateway, CHAT, {"messages": HELLO, "model": "gpt-99"}), 404)["code"] == "model_not_found"


def test_fields_that_mean_nothing_here_are_named_in_a_header(gateway: Gateway) -> None:
    answer = post(gateway, RESPONSES, {"input": "hi", "background": True, "store": True, "né w": 1})

    assert answer.headers["X-Ignored-Fields"] == "n%C3%A9%20w, store"


def test_authorization_is_taken_and_means_nothing_without_a_login(gateway: Gateway) -> None:
    assert gateway.get("/v1/models", headers={"Authorization": "Bearer anything"}).status_code == 200


def test_one_key_is_one_turn_however_many_ask_with_it_at_once(
    gateway: Gateway, answerer: Answerer, engine: Engine
) -> None:
    session_id, key = an_id("s-"), an_id("k-")
    body = {"messages": HELLO, "user": session_id}
    worker = Worker(answerer, engine).start()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(gateway, CHAT, body, **{"Idempotency-Key": key}), range(4)))
    worker.stop()

    assert {answer.text for answer in answers} == {answers[0].text}
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count("true") == 3
    with engine.connect() as connection:
        turns = connection.execute(text("SELECT count(*) FROM turns WHERE session_id = :id"), {"id": session_id})
        assert turns.scalar_one() == 1
    error_of(post(gateway, CHAT, {**body, "seed": 1}, **{"Idempotency-Key": key}), 400)


def test_a_turn_waits_for_the_one_before_it_and_tells_only_its_own_words(gateway: Gateway, answerer: Answerer) -> None:
    session_id = an_id("s-")
    first, second = (begin(gateway, metadata={"session_id": session_id}) for _ in range(2))
    told: list[list[Event]] = []
    reader = threading.Thread(target=lambda: told.append(_followed(gateway, second)))
    reader.start()

    assert answerer.answer(second, "too early") == "nothing to do"
    answerer.answer(first, "One ", "two")
    answerer.answer(second, "Three ", "four")
    reader.join()

    assert said(told[0]) == "Three four"


def _followed(gateway: Gateway, event_id: str, after: int | None = None) -> list[Event]:
    with following(gateway, event_id, after) as events:
        return list(events)


def test_a_client_that_leaves_loses_nothing(gateway: Gateway, answerer: Answerer) -> None:
    body = {"messages": HELLO, "stream": True}
    with requests.post(gateway.base + CHAT, json=body, stream=True, timeout=30) as answer:
        first = json.loads(next(answer.iter_lines())[6:])
    event_id = first["id"].removeprefix("chatcmpl-")

    answerer.answer(event_id, "All ", "of it")

    found = gateway.get(f"{RESPONSES}/{first['id']}").json()
    assert found["output"][0]["content"][0]["text"] == "All of it"


def test_an_answer_longer_than_an_item_of_a_stream_is_told_whole(gateway: Gateway, answerer: Answerer) -> None:
    pieces = ["\U0001f600" * 30_000, "é" * 40_000]
    event_id = begin(gateway)
    with following(gateway, event_id) as events:
        answerer.answer(event_id, *pieces)
        live = list(events)

    for told in (live, _followed(gateway, event_id)):
        assert said(told) == "".join(pieces)
        assert told[-1]["type"] == "response.completed"
        assert told[-1]["response"]["output"][0]["content"][0]["text"] == "".join(pieces)


def test_an_attempt_that_breaks_off_is_caught_up_with_in_silence(gateway: Gateway, answerer: Answerer) -> None:
    event_id = begin(gateway)
    with following(gateway, event_id) as events:
        _break_off(answerer, event_id, events)
        _insist(answerer, event_id, "Once upon ", "a time")
        rest = list(events)

    assert said(rest) == "upon a time"
    assert rest[-1]["type"] == "response.completed"


def test_an_attempt_that_says_something_else_is_another_item_of_the_response(
    gateway: Gateway, answerer: Answerer
) -> None:
    event_id = begin(gateway)
    with following(gateway, event_id) as events:
        seen = _break_off(answerer, event_id, events)
        _insist(answerer, event_id, "Two ", "boats")
        rest = list(events)
    resumed = _followed(gateway, event_id, seen[-1]["sequence_number"])

    for told in (rest, resumed):
        assert [event["item"]["status"] for event in told if event["type"] == "response.output_item.done"] == [
            "incomplete", "completed",
        ]  # fmt: skip
        assert said(told) == "Two boats"
        assert told[-1]["response"]["output"][0]["content"][0]["text"] == "Two boats"
    assert said(_followed(gateway, event_id)) == "Two boats"


def _break_off(answerer: Answerer, event_id: str, events: Iterator[Event]) -> list[Event]:
    """An attempt says a word, which comes through, and dies."""
    seen: list[Event] = []

    def wait() -> None:
        while said(seen) != "Once ":
            seen.append(next(events))

    assert answerer.answer(event_id, "Once ", wait, ModelUnavailable("The model is away.")) == "postponed"
    return seen


def _insist(answerer: Answerer, event_id: str, *steps: str) -> None:
    eventually(lambda: answerer.answer(event_id, *steps) == "done", 30)


def test_a_chat_stream_says_that_the_answer_began_anew(gateway: Gateway, answerer: Answerer) -> None:
    body, key = {"messages": HELLO, "stream": True}, {"Idempotency-Key": an_id("k-")}
    with requests.post(gateway.base + CHAT, json=body, headers=key, stream=True, timeout=30) as answer:
        lines = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data: {"))
        event_id = next(lines)["id"].removeprefix("chatcmpl-")
        steps = ("Once ", lambda: next(lines), ModelUnavailable("The model is away."))
        assert answerer.answer(event_id, *steps) == "postponed"
        _insist(answerer, event_id, "Two ", "boats")
        told = list(lines)

    assert told[-1]["error"]["code"] == "answer_began_anew"
    again = post(gateway, CHAT, body, **key)
    assert again.text.endswith("data: [DONE]\n\n")
    assert '"content":"Two boats"' in again.text


@pytest.fixture
def small(servers: Stack) -> Iterator[Gateway]:
    """A gateway with room for one stream, that waits for a second."""
    variables = {"GATEWAY_MAX_STREAMS": "1", "GATEWAY_WORKERS": "1", "OPENAI_WAIT_SECONDS": "1"}
    running = Gateway(servers.environment, **variables).start()
    yield running
    running.stop()


def test_an_answer_that_takes_longer_is_pointed_at_and_not_asked_for_twice(small: Gateway, answerer: Answerer) -> None:
    answer = post(small, CHAT, {"messages": HELLO})

    error = error_of(answer, 504)
    assert (error["code"], answer.headers["X-Should-Retry"]) == ("answer_pending", "false")
    path = error["message"].split("GET ")[1].split(" ")[0]
    answerer.answer(path.rpartition("resp_")[2], "Here ", "it is")
    assert small.get(path).json()["output"][0]["content"][0]["text"] == "Here it is"


def test_without_room_to_wait_nothing_is_accepted(small: Gateway, engine: Engine) -> None:
    session_id = an_id("s-")
    with following(small, begin(small)) as events:
        next(events)
        answer = post(small, CHAT, {"messages": HELLO, "user": session_id})

    assert error_of(answer, 503)["type"] == "server_error"
    assert int(answer.headers["Retry-After"]) > 0
    with engine.connect() as connection:
        known = connection.execute(text("SELECT count(*) FROM sessions WHERE session_id = :id"), {"id": session_id})
        assert known.scalar_one() == 0
    eventually(lambda: post(small, CHAT, {"messages": HELLO}).status_code == 504, 10)


def test_a_gateway_killed_in_the_middle_of_a_stream_is_resumed_from_where_it_was(
    servers: Stack, answerer: Answerer
) -> None:
    first = Gateway(servers.environment, GATEWAY_WORKERS="1").start()
    event_id = begin(first)
    read, killed = threading.Event(), threading.Event()
    # What is said after that is kept, too, for a reader whose gateway does not hear the live line yet.
    kept_by_now = partial(time.sleep, 2 * EVERY_SECONDS)
    steps = ["Once ", kept_by_now, "upon ", read.wait, lambda: killed.wait(30), "a \U0001f600 ", "time."]
    worker = threading.Thread(target=lambda: answerer.answer(event_id, *steps))
    seen: list[Event] = []
    with following(first, event_id) as events:
        worker.start()
        while said(seen) != "Once upon ":
            seen.append(next(events))
        os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait()
    read.set()
    second = Gateway(servers.environment, GATEWAY_WORKERS="1").start()
    killed.set()

    rest = _followed(second, event_id, seen[-1]["sequence_number"])
    worker.join()
    whole = _followed(second, event_id)
    second.stop()

    assert said(seen) + said(rest) == said(whole) == "Once upon a \U0001f600 time."
    assert whole[-1] == rest[-1]
    marks = [event["type"] for event in seen + rest if event["type"] != "response.output_text.delta"]
    assert marks == [event["type"] for event in whole if event["type"] != "response.output_text.delta"]


@pytest.mark.parametrize("stream", [False, True])
def test_who_waits_for_an_answer_whose_session_is_deleted_is_told_at_once(gateway: Gateway, stream: bool) -> None:
    session_id = an_id("s-")
    body = {
        "model": "default",
        "messages": HELLO,
        "stream": stream,
        "metadata": {"session_id": session_id, "hold": "1"},
    }

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.call, "POST", CHAT, json=body, stream=stream)
        eventually(lambda: gateway.get(f"/v1/sessions/{session_id}").status_code == 200)
        if stream:
            eventually(asked.done)
        assert gateway.call("DELETE", f"/v1/sessions/{session_id}").status_code == 200
        answer = asked.result(8)

    assert answer.status_code == (200 if stream else 404)
    assert "not there any more." in answer.text
    assert "[DONE]" not in answer.text

"""Messages in, and everything that may be wrong with one: answered as the contract says, kept once or not at all."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.builders import an_id
from tests.integration.gateway_process import Gateway, assert_problem

CHUNKED = (
    b"POST /v1/session/message HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


def events_of(gateway: Gateway, session_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
    return found


def test_a_message_is_accepted_and_can_be_read_at_once(gateway: Gateway) -> None:
    receipt = gateway.say(
        "héllo \U0001f600", metadata={"tenant": "t1", "universe_id": "u-1", "n": 1.5, "b": True, "x": None}
    )

    assert set(receipt) == {"accepted", "session_id", "event_id"}
    assert receipt["accepted"] is True
    first, second = events_of(gateway, receipt["session_id"])
    assert (first["id"], first["payload"]["message"], first["payload"]["event_id"]) == (
        1, "héllo \U0001f600", receipt["event_id"]
    )  # fmt: skip
    assert first["payload"]["metadata"] == {"tenant": "t1", "universe_id": "u-1", "n": 1.5, "b": True, "x": None}
    assert second["payload"]["type"] == "assistant.started"


def test_without_a_session_a_new_one_begins(gateway: Gateway) -> None:
    one, two = (gateway.post({"message": "hi"}).json()["session_id"] for _ in range(2))

    assert one != two


def test_headers_fill_what_the_body_leaves_out(gateway: Gateway) -> None:
    headers = {"X-Agent-Profile": "ap", "X-Universe-Id": "u-h", "X-Persona-Id": "p-h"}
    silent = gateway.post({"message": "hi"}, **headers).json()["session_id"]
    loud = gateway.post({"message": "hi", "persona_id": "p-b", "metadata": {"universe_id": "u-b"}}, **headers).json()

    filled = events_of(gateway, silent)[0]["payload"]
    own = events_of(gateway, loud["session_id"])[0]["payload"]

    assert (filled["persona_id"], filled["metadata"]) == ("p-h", {"agent_profile_id": "ap", "universe_id": "u-h"})
    assert (own["persona_id"], own["metadata"]["universe_id"]) == ("p-b", "u-b")


def test_the_longest_message_and_session_id_are_taken(gateway: Gateway) -> None:
    assert gateway.post({"message": "\U0001f600" * 32_000}).status_code == 200
    assert gateway.post({"message": "x", "session_id": an_id() + "a" * 92}).status_code == 200


def test_a_request_id_is_echoed_or_made(gateway: Gateway) -> None:
    assert gateway.post({"message": "hi"}, **{"X-Request-ID": "r:1.a_b-c"}).headers["X-Request-ID"] == "r:1.a_b-c"
    for bad in ("with space", "x" * 129, "a,b", "é"):
        made = gateway.post({"message": "hi"}, **{"X-Request-ID": bad.encode().decode("latin-1")}).headers[
            "X-Request-ID"
        ]
        assert len(made) == 36


BAD: dict[str, tuple[bytes, int]] = {
    "not JSON": (b"hello", 400),
    "nothing": (b"", 400),
    "half": (b'{"message": ', 400),
    "a list": (b"[]", 400),
    "a text": (b'"hello"', 400),
    "null": (b"null", 400),
    "NaN": (b'{"message": "a", "metadata": {"n": NaN}}', 400),
    "Infinity": (b'{"message": "a", "metadata": {"n": -Infinity}}', 400),
    "1e999": (b'{"message": "a", "metadata": {"n": 1e999}}', 400),
    "a number of 5,000 digits": (b'{"message": "a", "metadata": {"n": ' + b"9" * 5000 + b"}}", 400),
    "a key twice": (b'{"message": "a", "message": "b"}', 400),
    "a BOM": (b'\xef\xbb\xbf{"message": "a"}', 400),
    "UTF-16": ('{"message": "a"}'.encode("utf-16"), 400),
    "not UTF-8": (b'{"message": "\xff"}', 400),
    "depth 10,000": (b'{"message": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    "depth 100,000 unclosed": (b"[" * 100_000, 400),
    "no message": (b"{}", 422),
    "an unknown field": (b'{"message": "a", "colour": "red"}', 422),
    "an empty message": (b'{"message": ""}', 422),
    "32,001 characters": (b'{"message": "' + b"x" * 32_001 + b'"}', 422),
    "a message that is a number": (b'{"message": 7}', 422),
    "a message that is null": (b'{"message": null}', 422),
    "NUL": (b'{"message": "a\\u0000b"}', 422),
    "half a surrogate": (b'{"message": "\\ud800"}', 422),
    "NUL in a key": (b'{"message": "a", "metadata": {"a\\u0000": 1}}', 422),
    "half a surrogate in metadata": (b'{"message": "a", "metadata": {"a": "\\udc00"}}', 422),
    "metadata that is nested": (b'{"message": "a", "metadata": {"a": {"b": 1}}}', 422),
    "metadata with a list": (b'{"message": "a", "metadata": {"a": [1]}}', 422),
    "metadata that is a list": (b'{"message": "a", "metadata": []}', 422),
    "metadata that is null": (b'{"message": "a", "metadata": null}', 422),
    "a session id with spaces": (b'{"message": "a", "session_id": "a b"}', 422),
    "a session id with a line end": (b'{"message": "a", "session_id": "a\\n"}', 422),
    "a session id of 129 characters": (b'{"message": "a", "session_id": "' + b"s" * 129 + b'"}', 422),
    "an empty session id": (b'{"message": "a", "session_id": ""}', 422),
    "a session id that is a path": (b'{"message": "a", "session_id": "../x"}', 422),
    "a session id that is a number": (b'{"message": "a", "session_id": 1}', 422),
    "an empty persona": (b'{"message": "a", "persona_id": ""}', 422),
    "an attachment that is not there": (b'{"message": "a", "attachments": ["/v1/attachments/1"]}', 422),
    "attachments that are numbers": (b'{"message": "a", "attachments": [1]}', 422),
    "a tenant longer than any name": (json.dumps({"message": "a", "metadata": {"tenant": "t" * 5000}}).encode(), 422),
    "a universe longer than any name": (
        json.dumps({"message": "a", "metadata": {"universe_id": "".join(map(chr, range(256, 5256)))}}).encode(), 422
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BAD.values(), ids=BAD.keys())
def test_a_bad_message_is_refused_with_a_reason(gateway: Gateway, body: bytes, status: int) -> None:
    problem = assert_problem(gateway.post(body), status)

    if status == 422 and "errors" in problem:
        assert all({"loc", "msg"} == set(error) for error in problem["errors"])


def test_an_unknown_field_is_named(gateway: Gateway) -> None:
    problem = assert_problem(gateway.post({"message": "a", "colour": "red"}), 422)

    assert problem["errors"][0]["loc"] == ["body", "colour"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_another_content_type_is_415(gateway: Gateway, content_type: str) -> None:
    assert_problem(gateway.post({"message": "a"}, **{"Content-Type": content_type}), 415)


def test_a_compressed_body_is_415(gateway: Gateway) -> None:
    body = gzip.compress(b'{"message": "a"}')

    assert_problem(gateway.post(body, **{"Content-Encoding": "gzip"}), 415)


def test_a_body_over_one_mebibyte_is_413(gateway: Gateway) -> None:
    body = b'{"message": "' + b"x" * 1_048_576 + b'"}'

    assert_problem(gateway.post(body), 413)


def test_a_chunked_body_over_one_mebibyte_is_413_too(gateway: Gateway) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"

    answer = gateway.raw(CHUNKED + chunk * 20 + b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in answer


def test_a_small_chunked_body_is_fine(gateway: Gateway) -> None:
    answer = gateway.raw(CHUNKED + b'10\r\n{"message": "a"}\r\n0\r\n\r\n')

    assert answer.startswith(b"HTTP/1.1 200")


def test_a_session_of_another_tenant_is_not_there(gateway: Gateway) -> None:
    mine = gateway.say(metadata={"tenant": "mine"})["session_id"]

    problem = assert_problem(gateway.post({"message": "a", "session_id": mine, "metadata": {"tenant": "yours"}}), 404)

    assert "mine" not in json.dumps(problem)
    assert len(events_of(gateway, mine)) == 2


def test_the_same_key_and_body_get_the_first_answer_again(gateway: Gateway) -> None:
    key, body = an_id(), {"message": "once"}
    first, again = (gateway.post(body, **{"Idempotency-Key": key}) for _ in range(2))

    assert again.json() == first.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(events_of(gateway, first.json()["session_id"])) == 2


def test_the_same_key_with_another_body_is_422(gateway: Gateway) -> None:
    key = {"Idempotency-Key": an_id()}
    gateway.post({"message": "one"}, **key)

    assert_problem(gateway.post({"message": "two"}, **key), 422, "Idempotency-Key")
    assert_problem(gateway.post({"message": "one"}, **{**key, "X-Universe-Id": "other"}), 422)


def test_the_same_key_of_another_tenant_is_another_key(gateway: Gateway) -> None:
    key = {"Idempotency-Key": an_id()}
    one = gateway.post({"message": "one", "metadata": {"tenant": "a"}}, **key).json()
    two = gateway.post({"message": "one", "metadata": {"tenant": "b"}}, **key).json()

    assert one["event_id"] != two["event_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_422(gateway: Gateway, key: str) -> None:
    assert_problem(gateway.post({"message": "a"}, **{"Idempotency-Key": key}), 422)


def test_twenty_equal_requests_at_once_keep_one_message(gateway: Gateway) -> None:
    key, session_id = an_id(), an_id("s-")
    body = {"message": "once", "session_id": session_id}

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: gateway.post(body, **{"Idempotency-Key": key}), range(20)))

    assert {answer.status_code for answer in answers} <= {200, 409, 503}
    assert len({answer.json()["event_id"] for answer in answers if answer.status_code == 200}) == 1
    assert len(events_of(gateway, session_id)) == 2


def test_many_messages_to_one_session_at_once_stand_in_one_line(gateway: Gateway) -> None:
    session_id = an_id("s-")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: gateway.say(f"m{number}", session_id), range(24)))

    assert [event["id"] for event in events_of(gateway, session_id)] == list(range(1, 49))


def test_a_wrong_method_names_the_right_ones(gateway: Gateway) -> None:
    answer = gateway.get("/v1/session/message")

    assert_problem(answer, 405)
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/nothing", "/v1/ui/poll", "/v1/csrf", "/v1/sessions/%00/events"])
def test_what_is_not_there_is_404(gateway: Gateway, path: str) -> None:
    assert_problem(gateway.get(path), 404)

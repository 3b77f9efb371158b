"""Messages are told apart, and what is none is refused with a code and a sentence."""

from typing import Any

import pytest

from app.domain.json_rpc import INVALID_PARAMS, INVALID_REQUEST, Call, RpcError, call_in, failure, id_of, success

CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def test_a_call_has_its_id_its_method_and_its_params() -> None:
    assert call_in(CALL) == Call(1, "ping", {})
    assert call_in({**CALL, "id": "a", "params": {"x": [1]}}) == Call("a", "ping", {"x": [1]})


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "anything", "params": []},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}},
    ],
)
def test_what_awaits_no_answer_is_no_call(message: Any) -> None:
    assert call_in(message) is None


WRONG: dict[str, tuple[Any, int]] = {
    "a number": (7, INVALID_REQUEST),
    "null": (None, INVALID_REQUEST),
    "a text": ("ping", INVALID_REQUEST),
    "an array": ([CALL], INVALID_REQUEST),
    "nothing in it": ({}, INVALID_REQUEST),
    "no version": ({"id": 1, "method": "ping"}, INVALID_REQUEST),
    "another version": ({**CALL, "jsonrpc": "1.0"}, INVALID_REQUEST),
    "a version that is a number": ({**CALL, "jsonrpc": 2.0}, INVALID_REQUEST),
    "no method": ({"jsonrpc": "2.0", "id": 1}, INVALID_REQUEST),
    "a method that is no text": ({**CALL, "method": 7}, INVALID_REQUEST),
    "an answer that is two": ({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}, INVALID_REQUEST),
    "an id that is null": ({**CALL, "id": None}, INVALID_REQUEST),
    "an id that is true": ({**CALL, "id": True}, INVALID_REQUEST),
    "an id that is a fraction": ({**CALL, "id": 1.5}, INVALID_REQUEST),
    "an id that is an object": ({**CALL, "id": {}}, INVALID_REQUEST),
    "params by position": ({**CALL, "params": [1]}, INVALID_PARAMS),
    "params that are null": ({**CALL, "params": None}, INVALID_PARAMS),
    "params that are a text": ({**CALL, "params": "x"}, INVALID_PARAMS),
    "NUL in the params": ({**CALL, "params": {"x": "\x00"}}, INVALID_PARAMS),
    "half a surrogate in the params": ({**CALL, "params": {"x": "\ud800"}}, INVALID_PARAMS),
    "a number that is too large": ({**CALL, "params": {"x": float("inf")}}, INVALID_PARAMS),
}


@pytest.mark.parametrize(("message", "code"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_message_is_refused(message: Any, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        call_in(message)

    assert caught.value.code == code
    assert str(caught.value)


@pytest.mark.parametrize(
    ("message", "found"), [({"id": 0}, 0), ({"id": ""}, ""), ({"id": True}, None), ({}, None), ([], None), (None, None)]
)
def test_an_id_is_found_in_whatever_is_wrong_otherwise(message: Any, found: Any) -> None:
    assert id_of(message) == found


def test_answers_have_the_shape_of_the_protocol() -> None:
    assert success(Call(1, "ping", {}), {"x": 1}) == {"jsonrpc": "2.0", "id": 1, "result": {"x": 1}}
    assert failure(None, RpcError(-32600, "no")) == {
        "jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}
    }  # fmt: skip
    assert failure("a", RpcError(-32022, "no", {"supported": []}))["error"]["data"] == {"supported": []}

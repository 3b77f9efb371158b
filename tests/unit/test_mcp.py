"""Each version of the protocol is spoken as it is written, those that the official client knows."""

from dataclasses import replace
from typing import Any

import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from app.domain.json_rpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, Call, RpcError
from app.domain.mcp import (
    HANDSHAKE_VERSIONS,
    HEADER_MISMATCH,
    STATELESS_VERSION,
    UNSUPPORTED_VERSION,
    VERSIONS,
    Dialect,
    Headers,
    agreed_version,
    check_envelope,
    dialect_of,
)

HELLO: dict[str, Any] = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x"}}
META = {
    "io.modelcontextprotocol/protocolVersion": STATELESS_VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
CALL = Call(1, "tools/call", {"name": "recall", "_meta": META})
HEADERS = Headers(STATELESS_VERSION, "tools/call", "recall")


def test_every_version_of_the_official_client_is_spoken() -> None:
    assert HANDSHAKE_VERSIONS == HANDSHAKE_PROTOCOL_VERSIONS
    assert (STATELESS_VERSION,) == MODERN_PROTOCOL_VERSIONS


@pytest.mark.parametrize("version", HANDSHAKE_VERSIONS)
def test_a_handshake_ends_with_the_version_that_was_asked_for(version: str) -> None:
    assert agreed_version({**HELLO, "protocolVersion": version}) == version


@pytest.mark.parametrize("version", ["2019-01-01", "2099-01-01", STATELESS_VERSION, ""])
def test_a_handshake_for_another_version_ends_with_the_newest(version: str) -> None:
    assert agreed_version({**HELLO, "protocolVersion": version}) == "2025-11-25"


@pytest.mark.parametrize("wrong", [{"protocolVersion": 7}, {"capabilities": None}, {"clientInfo": "x"}])
def test_a_handshake_without_its_parts_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RpcError) as caught:
        agreed_version({**HELLO, **wrong})

    assert caught.value.code == INVALID_PARAMS


def test_without_a_header_it_is_the_version_that_had_none() -> None:
    assert dialect_of(Headers(), {}).version == "2025-03-26"


def test_a_request_that_carries_its_version_is_one_without_a_handshake_whatever_its_header() -> None:
    assert dialect_of(Headers(), {"params": {"_meta": META}}).stateless


@pytest.mark.parametrize("message", [None, [], {}, {"params": None}, {"params": {"_meta": 7}}])
def test_whatever_the_message_a_version_is_found(message: Any) -> None:
    assert dialect_of(Headers("2025-06-18"), message).version == "2025-06-18"


def test_an_unknown_version_is_told_which_there_are() -> None:
    with pytest.raises(RpcError) as caught:
        dialect_of(Headers("2019-01-01"), {})

    assert caught.value.code == UNSUPPORTED_VERSION
    assert caught.value.data == {"supported": list(VERSIONS), "requested": "2019-01-01"}


def test_batches_are_of_the_versions_that_had_them() -> None:
    assert [version for version in VERSIONS if Dialect(version).takes_batches] == ["2024-11-05", "2025-03-26"]


@pytest.mark.parametrize(
    ("code", "handshake", "stateless"),
    [
        (PARSE_ERROR, 400, 400), (INVALID_REQUEST, 400, 400), (UNSUPPORTED_VERSION, 400, 400),
        (INVALID_PARAMS, 200, 400), (METHOD_NOT_FOUND, 200, 404), (HEADER_MISMATCH, 200, 400),
    ],
)  # fmt: skip
def test_an_error_has_the_status_of_its_version(code: int, handshake: int, stateless: int) -> None:
    assert Dialect("2025-11-25").status(code) == handshake
    assert Dialect(STATELESS_VERSION).status(code) == stateless


def test_only_the_version_without_a_handshake_stamps_its_results() -> None:
    server = {"name": "x", "version": "1"}

    assert Dialect("2025-11-25").complete({"a": 1}, server, listed=True) == {"a": 1}
    stamped = Dialect(STATELESS_VERSION).complete({"a": 1}, server, listed=False)
    assert stamped == {"a": 1, "resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": server}}
    assert Dialect(STATELESS_VERSION).complete({}, server, listed=True).keys() >= {"ttlMs", "cacheScope"}


def test_headers_that_say_the_same_are_right_also_in_base64() -> None:
    check_envelope(CALL, HEADERS)
    check_envelope(CALL, replace(HEADERS, name="=?base64?cmVjYWxs?="))
    check_envelope(Call(1, "tools/list", {"_meta": META}), Headers(STATELESS_VERSION, "tools/list"))


@pytest.mark.parametrize(
    "headers",
    [
        Headers(None, "tools/call", "recall"), Headers("2025-11-25", "tools/call", "recall"),
        Headers(STATELESS_VERSION, None, "recall"), Headers(STATELESS_VERSION, "tools/list", "recall"),
        Headers(STATELESS_VERSION, "tools/call", None), Headers(STATELESS_VERSION, "tools/call", "forget"),
        Headers(STATELESS_VERSION, "tools/call", "=?base64?cmVj?="),
        Headers(STATELESS_VERSION, "tools/call", "=?base64?%%%?="),
        Headers(STATELESS_VERSION, "tools/call", "=?base64?/w==?="),
    ],
)  # fmt: skip
def test_headers_that_say_something_else_are_refused(headers: Headers) -> None:
    with pytest.raises(RpcError) as caught:
        check_envelope(CALL, headers)

    assert caught.value.code == HEADER_MISMATCH


@pytest.mark.parametrize("left", [{}, *({name: META[name]} for name in META)])
def test_a_request_without_its_envelope_is_refused(left: dict[str, Any]) -> None:
    with pytest.raises(RpcError) as caught:
        check_envelope(replace(CALL, params={"_meta": left}), HEADERS)

    assert caught.value.code == INVALID_PARAMS

"""The page's server as it is deployed, between a client and a gateway that follows a script."""

import socket

import pytest
import requests

from tests.browser.conftest import WebUi
from tests.browser.scripted_gateway import ScriptedGateway
from tests.integration.webui.stage import (
    send,
)


def test_a_message_is_answered_with_its_receipt_and_travels_with_its_key_and_id(
    webui: WebUi, gateway: ScriptedGateway
) -> None:
    answer = send(webui, **{"Idempotency-Key": "k-1", "X-Request-ID": "r-1", "Cookie": "jwt=secret"})

    assert answer.status_code == 200
    assert set(answer.json()) == {"accepted", "session_id", "event_id"}
    assert answer.headers["X-Request-ID"] == "r-1"
    passed = gateway.requests[-1][2]
    assert (passed["idempotency-key"], passed["x-request-id"], passed["cookie"]) == ("k-1", "r-1", "jwt=secret")
    assert send(webui, **{"Idempotency-Key": "k-1"}).json() == answer.json()


def test_a_message_without_a_key_gets_one(webui: WebUi, gateway: ScriptedGateway) -> None:
    send(webui)
    assert len(gateway.requests[-1][2]["idempotency-key"]) == 36


def test_the_gateways_refusal_passes_through(webui: WebUi, gateway: ScriptedGateway) -> None:
    gateway.script.refusal = (422, {"status": 422, "detail": "the message is empty"})
    answer = send(webui)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "the message is empty"


@pytest.mark.parametrize("path", ["/message", "/v1/memory/recall"])
def test_a_gateway_that_is_away_is_a_503_that_says_when_to_come_again(
    webui: WebUi, gateway: ScriptedGateway, path: str
) -> None:
    gateway.go_away()
    answer = requests.post(webui.base + path, json={"message": "x"}, timeout=10)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_an_answer_that_never_came_back_is_a_503(webui: WebUi, gateway: ScriptedGateway) -> None:
    gateway.script.unanswered = 1
    assert send(webui).status_code == 503


def test_a_body_over_the_limit_is_413_and_never_reaches_the_gateway(webui: WebUi, gateway: ScriptedGateway) -> None:
    before = len(gateway.requests)
    for path in ("/message", "/v1/memory/batch"):
        answer = requests.post(webui.base + path, data=b"x" * 100_001, timeout=10)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(gateway.requests) == before


def test_conversations_to_bring_back_may_be_larger_up_to_their_own_limit(
    webui: WebUi, gateway: ScriptedGateway
) -> None:
    chats = {"chats": [{"session_id": "brought-back", "events": [], "title": "x" * 100_001}]}

    assert requests.post(f"{webui.base}/v1/sessions/import", json=chats, timeout=10).status_code == 200
    too_much = requests.post(f"{webui.base}/v1/sessions/import", data=b"x" * 200_001, timeout=10)
    assert too_much.status_code == 413


def test_the_api_passes_through_with_cookies_both_ways_and_without_hop_by_hop_headers(
    webui: WebUi, gateway: ScriptedGateway
) -> None:
    answer = requests.delete(
        f"{webui.base}/v1/thing/a%20b?x=1&x=%2F",
        json={"n": 1},
        headers={"Cookie": "a=1", "Connection": "X-Private", "X-Private": "1", "X-Forwarded-For": "6.6.6.6"},
        timeout=10,
    )

    assert answer.json() == {"echo": {"n": 1}, "cookie": "a=1"}
    assert answer.headers["Set-Cookie"] == "b=2"
    method, path, headers = gateway.requests[-1]
    assert (method, path) == ("DELETE", "/v1/thing/a%20b?x=1&x=%2F")
    assert "x-private" not in headers
    assert headers["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize(
    "path", ["/v1/../metrics", "/v1/%2e%2e/metrics", "/v1/x/..%2f..%2fmetrics", "/metrics", "/nope"]
)
def test_nothing_but_the_api_passes_through(webui: WebUi, gateway: ScriptedGateway, path: str) -> None:
    before = len(gateway.requests)
    with socket.create_connection(("127.0.0.1", webui.port), timeout=10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b" 404 " in sock.recv(200).split(b"\r\n")[0] + b" "
    assert len(gateway.requests) == before


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_page_of_another_origin_may_not_write(webui: WebUi, gateway: ScriptedGateway, origin: str) -> None:
    before = len(gateway.requests)
    for path in ("/message", "/v1/memory/batch"):
        answer = requests.post(webui.base + path, json={}, headers={"Origin": origin}, timeout=10)
        assert answer.status_code == 403
    assert len(gateway.requests) == before
    assert send(webui, Origin=webui.base).status_code == 200


@pytest.mark.parametrize("path", ["/", "/help/model", "/static/main.js", "/v1/sessions", "/nope", "/gateway_stream"])
def test_every_answer_carries_the_headers_that_keep_browsers_safe(webui: WebUi, path: str) -> None:
    headers = requests.get(webui.base + path, timeout=10).headers

    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    ours = path in ("/", "/help/model", "/static/main.js")
    assert headers["Cache-Control"] == ("no-cache" if ours else "no-store")


def test_files_of_ours_are_asked_about_and_not_sent_twice(webui: WebUi) -> None:
    for path in ("/", "/static/main.js"):
        first = requests.get(webui.base + path, timeout=10)
        again = requests.get(webui.base + path, headers={"If-None-Match": first.headers["ETag"]}, timeout=10)
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_the_page_asks_no_other_host(webui: WebUi) -> None:
    page = requests.get(webui.base, timeout=10).text
    assert "http://" not in page
    assert "https://" not in page

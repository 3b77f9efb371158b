"""The relay of a session's stream: both ways, its cursors, its ends and its limits."""

import json
import socket
import threading

import pytest
import requests
import websocket

from tests.browser.conftest import WebUi
from tests.browser.scripted_gateway import ScriptedGateway
from tests.conftest import eventually as until
from tests.integration.webui.stage import (
    MAX_STREAMS,
    a_session,
    close_code,
    dial,
    follow,
    items_until,
    send,
    try_dial,
)


def test_a_stream_without_a_session_is_a_400(webui: WebUi) -> None:
    for query in ("", "?session_id=", "?session_id=a%20b", "?session_id=" + "x" * 129):
        assert requests.get(f"{webui.base}/gateway_stream{query}", timeout=10).status_code == 400


def test_the_websocket_relays_items_with_rendered_answers(webui: WebUi, gateway: ScriptedGateway) -> None:
    sock = dial(webui, a_session(webui, gateway, "<b>hi"))
    items = items_until(sock, "assistant.final")
    sock.close()

    assert [item["type"] for item in items] == ["user", "assistant.started", "assistant.thinking", "assistant.final"]
    assert [item["cursor"] for item in items] == ["1", "2", "3.1.0", "4"]
    assert items[0]["message"] == "<b>hi"
    assert "html" not in items[0]["metadata"]
    assert items[-1]["metadata"]["html"] == "<p>You said <strong>&lt;b&gt;hi</strong>.</p>\n"


def test_a_cursor_resumes_on_both_ways(webui: WebUi, gateway: ScriptedGateway) -> None:
    session_id = a_session(webui, gateway)
    sock = dial(webui, session_id, "?after=3.1.4")
    assert json.loads(sock.recv())["seq"] == 4
    sock.close()

    for query, headers in (("&after=3", {}), ("", {"Last-Event-ID": "3"}), ("&after=1", {"Last-Event-ID": "3"})):
        with follow(webui, f"session_id={session_id}{query}", **headers) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            lines = answer.iter_lines(decode_unicode=True)
            first = [next(lines) for _ in range(4)]
        assert first[0] == "retry: 1000"
        assert first[2] == "id: 4"
        assert json.loads(first[3].removeprefix("data: "))["metadata"]["html"].startswith("<p>")


def test_the_heartbeat_becomes_a_ping(webui: WebUi, gateway: ScriptedGateway) -> None:
    session_id = a_session(webui, gateway)
    gateway.script.heartbeat_seconds = 0.05
    sock = dial(webui, session_id, "?after=4")

    assert items_until(sock, "ping")
    sock.close()


@pytest.mark.parametrize(("status", "code"), [(401, 4401), (403, 4403), (404, 4404), (422, 1008), (503, 1012)])
def test_the_gateways_refusal_of_a_stream_becomes_a_close_code(
    webui: WebUi, gateway: ScriptedGateway, status: int, code: int
) -> None:
    session_id = a_session(webui, gateway)
    gateway.script.stream_status = status
    assert close_code(dial(webui, session_id)) == code


def test_a_session_id_that_cannot_be_is_4404(webui: WebUi) -> None:
    assert close_code(dial(webui, "a%20b")) == 4404


def test_a_gateway_that_dies_closes_the_websocket_with_1012(webui: WebUi, gateway: ScriptedGateway) -> None:
    sock = dial(webui, a_session(webui, gateway))
    items_until(sock, "assistant.final")
    gateway.go_away()
    assert close_code(sock) == 1012
    assert close_code(dial(webui, "any")) == 1012


def test_a_foreign_page_may_not_open_a_websocket(webui: WebUi, gateway: ScriptedGateway) -> None:
    before = len(gateway.requests)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(f"ws://127.0.0.1:{webui.port}/ws/session/x", origin="https://evil.example")
    assert refused.value.status_code == 403
    assert len(gateway.requests) == before


def test_when_the_browser_leaves_the_gateway_is_left_at_once(webui: WebUi, gateway: ScriptedGateway) -> None:
    session_id = a_session(webui, gateway)
    gateway.script.heartbeat_seconds = 0.1
    until(lambda: not gateway.connections)
    sock = dial(webui, session_id)
    answer = follow(webui, f"session_id={session_id}")
    until(lambda: len(gateway.connections) == 2)

    sock.shutdown()
    answer.raw._connection.sock.shutdown(socket.SHUT_RDWR)
    answer.close()
    until(lambda: not gateway.connections, 5)


def test_more_streams_than_there_is_room_for_are_refused_and_the_page_still_answers(
    webui: WebUi, gateway: ScriptedGateway
) -> None:
    session_id = a_session(webui, gateway)
    until(lambda: not gateway.connections)
    held = [dial(webui, session_id) for _ in range(MAX_STREAMS)]

    assert try_dial(webui, session_id) is None
    refused = requests.get(f"{webui.base}/gateway_stream?session_id={session_id}", timeout=10)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert send(webui).status_code == 200
    for sock in held:
        sock.close()
    dial(webui, session_id).close()


def test_many_requests_at_once_are_all_answered_while_streams_are_open(webui: WebUi, gateway: ScriptedGateway) -> None:
    session_id = a_session(webui, gateway)
    sock = dial(webui, session_id)
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(requests.get(f"{webui.base}/v1/sessions", timeout=20).status_code)
        )
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    sock.close()

    assert statuses == [200] * 40


def test_a_stopping_server_ends_its_streams_with_1012(gateway: ScriptedGateway) -> None:
    webui = WebUi(gateway.base)
    sock = dial(webui, a_session(webui, gateway))
    items_until(sock, "assistant.final")
    webui.process.terminate()

    assert close_code(sock) == 1012
    sock.close()
    assert webui.process.wait(10) == 0

"""What the tests of the page's server share: the server as it is deployed, a scripted gateway, and clients."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import websocket

from tests.browser.conftest import WebUi, free_port
from tests.browser.scripted_gateway import ScriptedGateway
from tests.browser.scripted_http import scripted_gateway
from tests.conftest import eventually as until

MAX_STREAMS = 8
Stage = tuple[ScriptedGateway, WebUi]


@contextmanager
def a_stage() -> Iterator[Stage]:
    """A gateway and the page's server before it, with tight limits."""
    gateway = scripted_gateway(free_port())
    limits = {"GATEWAY_MAX_BODY_BYTES": "100000", "SESSION_IMPORT_MAX_BYTES": "200000"}
    webui = WebUi(gateway.base, UI_MAX_STREAMS=str(MAX_STREAMS), **limits)
    try:
        yield gateway, webui
    finally:
        webui.stop()
        gateway.go_away()


def send(webui: WebUi, text: str = "hello", **headers: str) -> requests.Response:
    return requests.post(f"{webui.base}/message", json={"message": text}, headers=headers, timeout=10)


def a_session(webui: WebUi, gateway: ScriptedGateway, text: str = "hello") -> str:
    """A session whose first turn is over."""
    session_id = str(send(webui, text).json()["session_id"])
    until(lambda: gateway.session(session_id).events[-1]["type"] == "assistant.final")
    return session_id


def dial(webui: WebUi, session_id: str, query: str = "") -> websocket.WebSocket:
    """A websocket; waits while streams that were just left are still being cleared away."""
    return until(lambda: try_dial(webui, session_id, query))


def try_dial(webui: WebUi, session_id: str, query: str = "") -> websocket.WebSocket | None:
    """A websocket; None when there is no room for one."""
    url = f"{webui.base.replace('http', 'ws')}/ws/session/{session_id}{query}"
    try:
        return websocket.create_connection(url, timeout=10, suppress_origin=True)
    except websocket.WebSocketBadStatusException:
        return None


def follow(webui: WebUi, query: str, **headers: str) -> requests.Response:
    """Server-sent events; waits for room as `dial` does."""

    def attempt() -> requests.Response | None:
        answer = requests.get(f"{webui.base}/gateway_stream?{query}", headers=headers, stream=True, timeout=10)
        return answer if answer.status_code == 200 else None

    return until(attempt)


def items_until(sock: websocket.WebSocket, kind: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while not items or items[-1]["type"] != kind:
        items.append(json.loads(sock.recv()))
    return items


def close_code(sock: websocket.WebSocket) -> int:
    while True:
        opcode, data = sock.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])

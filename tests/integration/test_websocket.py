"""Our websockets against clients that misbehave: a real server, real sockets."""

import base64
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from app.adapters.http.websocket import InputBudget, own_origin
from tests.conftest import eventually as until

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """gunicorn with the trial server, in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--config",
             "python:tests.integration.websocket_server", "tests.integration.websocket_server:app"],
            cwd=ROOT, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.errors: list[bytes] = []
        assert self.process.stderr is not None
        threading.Thread(target=self.errors.extend, args=(self.process.stderr,), daemon=True).start()
        until(self.answers)

    def answers(self) -> bool:
        try:
            self.plain()
        except OSError:
            return False
        return True

    def plain(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/plain", timeout=3) as answer:
            return dict(json.load(answer))

    def dial(self, path: str, **options: Any) -> websocket.WebSocket:
        return websocket.create_connection(
            f"ws://127.0.0.1:{self.port}{path}", timeout=10, **{"suppress_origin": True, **options}
        )

    def handshake(self, **changes: str | None) -> bytes:
        """The first line of the answer to a handshake with some headers changed or left out."""
        key = base64.b64encode(bytes(16)).decode()
        headers: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.port}", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13",
        } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(f"GET /ticks HTTP/1.1\r\n{lines}\r\n".encode())
            return sock.recv(4096)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(15)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def nothing_left_behind(server: Server) -> Iterator[None]:
    """Whatever a client did, afterwards the server answers and has no reader threads left."""
    yield
    until(lambda: server.plain()["threads"] <= 1 + 24)
    until(lambda: server.handshake().startswith(b"HTTP/1.1 101"))


def close_code(sock: websocket.WebSocket) -> int:
    """Read until the server says goodbye; its code."""
    while True:
        kind, data = sock.recv_data()
        if kind == websocket.ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])


def test_items_arrive_and_nothing_is_compressed(server: Server) -> None:
    answer = server.handshake(Sec_WebSocket_Extensions="permessage-deflate")

    assert answer.startswith(b"HTTP/1.1 101")
    assert b"deflate" not in answer.lower()
    sock = server.dial("/ticks")
    assert [json.loads(sock.recv())["number"] for _ in range(3)] == [0, 1, 2]
    sock.close()


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "https://good.evil.com", "http://127.0.0.1:1", ""])
def test_a_foreign_page_is_refused_before_the_upgrade(server: Server, origin: str) -> None:
    assert server.handshake(Origin=origin).startswith(b"HTTP/1.1 403")


def test_our_own_page_and_an_allowed_one_may_connect(server: Server) -> None:
    for origin in (f"http://127.0.0.1:{server.port}", "https://allowed.example"):
        assert server.handshake(Origin=origin).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    "change",
    [{"Sec_WebSocket_Key": None}, {"Sec_WebSocket_Key": "short"}, {"Sec_WebSocket_Version": "12"}, {"Connection": "x"}],
)
def test_a_broken_handshake_is_the_callers_fault(server: Server, change: dict[str, str | None]) -> None:
    assert server.handshake(**change).startswith(b"HTTP/1.1 400")


def test_a_message_over_64_kib_closes_with_1009(server: Server) -> None:
    sock = server.dial("/ticks")
    sock.send("x" * 70_000)

    assert close_code(sock) == 1009


def test_a_flood_closes_with_1008(server: Server) -> None:
    sock = server.dial("/ticks")

    def flood() -> None:
        try:
            while True:
                sock.send("spam" * 50)
        except OSError:
            return

    threading.Thread(target=flood, daemon=True).start()
    assert close_code(sock) == 1008


def test_a_client_that_never_reads_is_dropped_within_seconds(server: Server) -> None:
    sock = server.dial("/pour", sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),))

    seconds = until(lambda: server.plain()["ended"].get("pour"), 20)

    assert 4 < seconds < 12
    sock.shutdown()


def test_a_client_that_vanishes_frees_its_slot(server: Server) -> None:
    for _ in range(20):
        until(lambda: server.handshake().startswith(b"HTTP/1.1 101"))


def test_more_streams_than_slots_are_refused_before_the_upgrade_and_plain_requests_go_on(server: Server) -> None:
    until(lambda: server.handshake().startswith(b"HTTP/1.1 101"))
    held: list[websocket.WebSocket] = []
    until(lambda: held.append(server.dial("/ticks")) or len(held) == 6)

    assert server.handshake().startswith(b"HTTP/1.1 503")
    assert server.plain()
    for sock in held:
        sock.close()


def test_an_item_that_is_too_long_goes_without_its_text_and_a_close_code_arrives(server: Server) -> None:
    sock = server.dial("/big")

    assert json.loads(sock.recv()) == {"message": "", "seq": 7, "metadata": {"truncated": True}}
    assert close_code(sock) == 4404


def test_an_error_in_a_handler_closes_with_1011_and_writes_no_http_into_the_socket(server: Server) -> None:
    sock = server.dial("/break")
    assert close_code(sock) == 1011
    sock.sock.settimeout(5)
    assert sock.sock.recv(100) == b""


def test_a_stopping_server_says_1012_and_is_gone_at_once() -> None:
    running = Server()
    sock = running.dial("/ticks")
    sock.recv()
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)

    assert close_code(sock) == 1012
    sock.close()
    assert running.process.wait(10) == 0
    assert time.monotonic() - began < 5


def test_own_origin_compares_whole_hosts_and_ports() -> None:
    assert own_origin(None, "soma.example")
    assert own_origin("https://soma.example", "soma.example:443")
    assert own_origin("http://[::1]:20015", "[::1]:20015")
    assert not own_origin("http://soma.example.evil.com", "soma.example")
    assert not own_origin("http://soma.example@evil.com", "soma.example")
    assert not own_origin("file://", "soma.example")
    assert not own_origin("http://soma.example:bad", "soma.example")


def test_an_honest_client_never_spends_its_budget() -> None:
    budget = InputBudget(burst=100, per_second=10)

    assert all(budget.allows(10, now) for now in range(1, 1000))
    assert not budget.allows(101, 1000)

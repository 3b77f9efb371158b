"""What can happen to the gateway: killed and reloaded under load, and clients of streams that behave badly."""

import os
import signal
import socket
import struct
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import psutil
import requests
import websocket

from drills.trouble import Stage

NAME = "gateway"
CLIENTS = 6
_RESET = struct.pack("ii", 1, 0)


def kill_and_reload(stage: Stage) -> None:
    """SIGKILL the whole gateway, SIGKILL one of its workers, and have it reload, under load."""
    for _ in range(stage.times(2)):
        stage.kill(NAME)
        stage.rest(4)
        _kill_child(stage)
        stage.rest(4)
        _reload(stage)
        stage.rest(4)


def _children(stage: Stage) -> list[psutil.Process]:
    return psutil.Process(stage.stack.status()[NAME].pid).children()


def _kill_child(stage: Stage) -> None:
    victim = _children(stage)[0]
    victim.kill()
    stage.feel(lambda: victim.pid not in {child.pid for child in _children(stage)} and len(_children(stage)) > 1)


def _reload(stage: Stage) -> None:
    """SIGHUP: gunicorn starts new workers and ends the old ones warmly."""
    before = {child.pid for child in _children(stage)}
    os.kill(stage.stack.status()[NAME].pid, signal.SIGHUP)
    stage.feel(lambda: not before & {child.pid for child in _children(stage)})
    _wait_for_an_answer(stage)


def _wait_for_an_answer(stage: Stage) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if requests.get(f"{stage.target.gateway}/readyz", timeout=2).ok:
                return
        time.sleep(0.1)


def bad_clients(stage: Stage) -> None:
    """Clients that open a stream and never read, that reset it, and that flood their websocket."""
    stage.post("m900029 for bad clients to follow", f"{stage.target.tenant}-bad", "drill-bad-clients")
    for _ in range(stage.times(3)):
        with ExitStack() as held:
            deaf = [held.enter_context(_deaf(stage)) for _ in range(CLIENTS)]
            stage.felt += len(deaf)
            _reset(stage)
            _flood(stage)
            stage.rest(6)


def _open(stage: Stage) -> socket.socket:
    """A raw connection that asks for the stream."""
    address = urlsplit(stage.target.gateway)
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    link.settimeout(5)
    link.connect((address.hostname or "", address.port or 80))
    link.sendall(b"GET /v1/session/drill-bad-clients/events HTTP/1.1\r\nHost: drill\r\n\r\n")
    return link


def _deaf(stage: Stage) -> socket.socket:
    """It never reads a byte."""
    return _open(stage)


def _reset(stage: Stage) -> None:
    """They read a little and end the connection with RST."""
    for _ in range(CLIENTS):
        with _open(stage) as link:
            stage.felt += bool(link.recv(64))
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _flood(stage: Stage) -> None:
    """They send far more than any honest reader; being thrown out is what is expected."""
    url = f"{stage.target.gateway.replace('http', 'ws', 1)}/v1/session/drill-bad-clients/stream"
    for _ in range(CLIENTS):
        line = websocket.create_connection(url, timeout=5)
        try:
            stage.felt += _thrown_out(line)
        finally:
            with suppress(OSError, websocket.WebSocketException):
                line.close(timeout=1)


def _thrown_out(line: websocket.WebSocket) -> bool:
    """Whether the server ends a connection that sends so much."""
    try:
        for _ in range(200):
            line.send("x" * 4000)
        for _ in range(200):
            if not line.recv():
                return True
    except websocket.WebSocketTimeoutException:
        return False
    except (OSError, websocket.WebSocketException):
        return True
    return False

"""Clients that do not hang up after their answer: they hold a connection, and nobody else."""

import socket
import time
from contextlib import ExitStack

import pytest

from tests.integration.gateway_process import Gateway

pytestmark = pytest.mark.servers
CLIENTS = 40
REQUEST = b"GET /readyz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"


def test_clients_that_never_hang_up_hold_up_nobody(gateway: Gateway) -> None:
    host, port = gateway.base.removeprefix("http://").split(":")
    took: list[float] = []
    with ExitStack() as open_sockets:
        for _ in range(CLIENTS):
            began = time.monotonic()
            client = open_sockets.enter_context(socket.create_connection((host, int(port)), timeout=20))
            client.sendall(REQUEST)
            assert client.recv(12) == b"HTTP/1.1 200"
            took.append(time.monotonic() - began)

    took.sort()
    # Most of them: a machine that stands still for a moment is no client that does not hang up.
    assert took[CLIENTS * 9 // 10] < 0.5, took

"""Filling what fills up once: pools of threads and connections, so that what grows during a fault is growth.

A pool begins nearly empty and keeps what it was ever asked for. Asked for much at once before anything is measured, it
has its size, and the comparison of before and after may be strict.
"""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from drills.trouble import Stage

STREAMS, QUESTIONS, ANSWERS, CLIENTS = 64, 96, 40, 8
ANSWER_SECONDS, BEGIN_SECONDS = 10.0, 10.0
LONG_PAUSE = 0.5


def fill_pools(stage: Stage) -> None:
    """Many answers at once, many open streams and, beside them, many questions; returns when the questions are answered
    and the streams closed.
    """
    tenant = f"{stage.target.tenant}-warm"
    _begin_answers(stage, tenant)
    gateway, brain = stage.target.gateway, stage.stack.url("brain")
    with ExitStack() as held:
        lines = [_asked(held, gateway, f"/v1/session/{tenant}-1/events") for _ in range(STREAMS)]
        lines += [_asked(held, gateway, f"/v1/sessions/{tenant}-1/events") for _ in range(QUESTIONS)]
        lines += [
            _asked(held, brain, f"/memory/items?tenant={tenant}&namespace=wm&universe=drill") for _ in range(QUESTIONS)
        ]
        for line in lines:
            with suppress(OSError):
                line.recv(64)


def _begin_answers(stage: Stage, tenant: str) -> None:
    """Have so many long answers begun that a worker needs every thread it may have."""
    begun = threading.Semaphore(0)
    deadline = time.monotonic() + BEGIN_SECONDS
    with stage.model.heard_by(lambda _text, _port: begun.release()), stage.model.at_pace(lambda _text: LONG_PAUSE):
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda number: stage.post("hello", tenant, f"{tenant}-{number}"), range(1, ANSWERS + 1)))
        for _ in range(ANSWERS):
            begun.acquire(timeout=max(0.0, deadline - time.monotonic()))


def _asked(held: ExitStack, server: str, path: str) -> socket.socket:
    """A line on which this question was asked and the answer is still to come."""
    address = urlsplit(server)
    line = held.enter_context(socket.create_connection((address.hostname or "", address.port or 80), ANSWER_SECONDS))
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    return line

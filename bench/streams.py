"""`make bench-streams`: from the model's socket to the reader's, with one reader and with a hundred, on both doors.

A stack of its own: the real gateway, worker, Postgres and Redis, and a scripted model whose words are the moments at
which it sent them. The readers share one thread that only takes bytes and the time; what they say is read afterwards.
The best of several runs counts, because this machine may do other things meanwhile. `python -m bench.streams 1 20`
measures these numbers of readers.
"""

import re
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import requests

from bench.stamping_model import MODEL, StampingModel
from devstack.stack import Stack

WORDS, PER_SECOND, RUNS, PATIENCE_SECONDS = 100, 20.0, 3, 60.0
GOALS_MS = {1: 10.0, 100: 25.0}
DOORS = {
    "sse": ("events", ""),
    "websocket": (
        "stream",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    ),
}
_PARTS = {"postgres", "migrations", "redis", "brain", "gateway", "worker-conversation", "beat"}
_STAMP = re.compile(rb"(?<![0-9])([0-9]{9,20}) ")
Heard = list[tuple[int, bytes]]


class Spread(NamedTuple):
    """Milliseconds of the median, the 95th of a hundred and the slowest word."""

    p50: float
    p95: float
    worst: float


def main(readers: tuple[int, ...] = tuple(GOALS_MS)) -> int:
    """Measure and print; the exit status is 1 when a goal is missed."""
    with tempfile.TemporaryDirectory(prefix="bench-streams-") as folder, StampingModel(WORDS, PER_SECOND) as model:
        overrides = {"LLM_BASE_URL": model.url, "LLM_MODEL": MODEL}
        with Stack(Path(folder), None, only=_PARTS, overrides=overrides) as stack:
            _show("straight from the model", 1, _best(partial(_bare, model)))
            reached = [
                _show(door, count, _best(partial(_run, stack, model, door, count)), GOALS_MS.get(count, GOALS_MS[100]))
                for count in readers
                for door in DOORS
            ]
    return int(not all(reached))


def _best(run: Callable[[], Spread]) -> Spread:
    return min((run() for _ in range(RUNS)), key=lambda spread: spread.p95)


def _show(way: str, count: int, spread: Spread, goal: float | None = None) -> bool:
    """One line of the table; whether the goal is reached."""
    sys.stdout.write(f"{way:<23} {count:4} readers, {PER_SECOND:.0f} words/s, best of {RUNS} runs: ")
    sys.stdout.write(f"p50 {spread.p50:5.1f} ms  p95 {spread.p95:5.1f} ms  max {spread.worst:5.1f} ms")
    sys.stdout.write(f"  goal p95 {goal:.0f} ms\n" if goal else "\n")
    sys.stdout.flush()
    return goal is None or spread.p95 <= goal


def _bare(model: StampingModel) -> Spread:
    """The same words without anything between the two sockets: what this machine is capable of at the moment."""
    host, _, port = model.address.removeprefix("http://").partition(":")
    body = b'{"stream": true}'
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as line:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        return _spread(_listen([line], b"[DONE]"), 1)


def _run(stack: Stack, model: StampingModel, door: str, count: int) -> Spread:
    """One answer, heard by so many."""
    base, model.words = stack.url("gateway"), 1
    session_id, head = _say(base, {"message": "hello"}), 0
    while not (head := _answered(base, session_id)):
        time.sleep(0.1)
    model.words = WORDS
    with ExitStack() as open_lines:
        lines = [open_lines.enter_context(_line(base, door, session_id, head)) for _ in range(count)]
        _say(base, {"message": "and again", "session_id": session_id})
        return _spread(_listen(lines, b"assistant.final"), count)


def _spread(heard: Iterable[Heard], count: int) -> Spread:
    waits = sorted(wait for each in heard for wait in _waits(each))
    if len(waits) != count * WORDS:
        sys.exit(f"{len(waits)} of {count * WORDS} words were heard")
    return Spread(waits[len(waits) // 2], waits[int(0.95 * len(waits))], waits[-1])


def _say(base: str, body: dict[str, str]) -> str:
    answer = requests.post(f"{base}/v1/session/message", json=body, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["session_id"])


def _answered(base: str, session_id: str) -> int:
    """The number of the last event once the answer has ended, 0 before."""
    events = requests.get(f"{base}/v1/sessions/{session_id}/events", timeout=10).json()["events"]
    return int(events[-1]["id"]) if events[-1]["payload"]["type"] == "assistant.final" else 0


def _line(base: str, door: str, session_id: str, after: int) -> socket.socket:
    """An open stream that begins after this event; its head has been read."""
    host, _, port = base.removeprefix("http://").partition(":")
    path, upgrade = DOORS[door]
    line = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
    request = f"GET /v1/session/{session_id}/{path}?after={after} HTTP/1.1\r\nHost: {host}:{port}\r\n{upgrade}\r\n"
    line.sendall(request.encode())
    head = line.recv(4096)
    if head.split(b" ")[1] not in (b"200", b"101"):
        sys.exit(f"a stream was refused: {head.decode()}")
    return line


def _listen(lines: list[socket.socket], end: bytes) -> Iterable[Heard]:
    """What came on each line and when, up to the `end` of the answer."""
    heard: dict[socket.socket, Heard] = {line: [] for line in lines}
    left, until = set(lines), time.monotonic() + PATIENCE_SECONDS
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line, selectors.EVENT_READ)
        while left and time.monotonic() < until:
            for key, _ in selector.select(1.0):
                line = key.fileobj
                if isinstance(line, socket.socket):
                    heard[line].append((time.monotonic_ns(), line.recv(65_536)))
                    if end in heard[line][-1][1]:
                        left.discard(line)
    return heard.values()


def _waits(heard: Heard) -> Iterator[float]:
    """Milliseconds from each word's stamp to the arrival of its last byte; each word counts once."""
    rest, known = b"", set[bytes]()
    for at, data in heard:
        rest += data
        for found in _STAMP.finditer(rest):
            if found[1] not in known:
                known.add(found[1])
                yield (at - int(found[1])) / 1e6
        rest = rest[rest.rfind(b" ") + 1 :]


if __name__ == "__main__":
    sys.exit(main(tuple(map(int, sys.argv[1:])) or tuple(GOALS_MS)))

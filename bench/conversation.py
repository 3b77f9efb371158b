"""`make bench-conversation`: a whole turn against the model asked directly, 200 turns at once, and taking a message in.

The same client asks the scripted model and our OpenAI door by turns, so a busy machine is busy for both. 200 turns run
on one worker with a thread for each. Acceptance is held against a bare view under the same gunicorn, by turns.
`python -m bench.conversation turn many accept` measures some of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import psycopg2

from bench.bare_view import TABLE
from bench.stamping_model import MODEL, StampingModel
from devstack.ports import free
from devstack.stack import Stack

WORDS, PER_SECOND, TURNS, WARM = 50, 100.0, 40, 5
AT_ONCE, SLOW_PER_SECOND, PATIENCE_SECONDS = 200, 2.5, 180.0
CLIENTS, SECONDS, RUNS = 8, 4.0, 3
GOAL_FIRST_MS, GOAL_TOTAL_MS, GOAL_RATIO, GOAL_MIB, GOAL_ACCEPT = 60.0, 80.0, 1.3, 400.0, 0.7
_GATEWAY = {"postgres", "migrations", "redis", "gateway"}
_PARTS = {*_GATEWAY, "brain", "worker-conversation", "beat"}
_WORKER = "worker-conversation"
_ENDED = "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state <> 'done') FROM turns"
_LASTED = """
    SELECT extract(epoch FROM max(t.finished_at) - min(t.created_at)),
           extract(epoch FROM max(t.finished_at - e.created_at))
    FROM turns t JOIN session_events e ON e.event_id = t.event_id || ':thinking:' || t.attempts
"""


class Took(NamedTuple):
    """Milliseconds from the request to the first word, and to the end."""

    first: float
    total: float


def main(chosen: tuple[str, ...]) -> int:
    """Measure and print; the exit status is 1 when a goal is missed."""
    with tempfile.TemporaryDirectory(prefix="bench-conversation-") as folder:
        reached = [_MEASURES[name](Path(folder) / name) for name in chosen or tuple(_MEASURES)]
    return int(not all(reached))


@contextmanager
def _line(base: str) -> Iterator[HTTPConnection]:
    address = urlsplit(base)
    line = HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_SECONDS)
    try:
        yield line
    finally:
        line.close()


def _turn(folder: Path) -> bool:
    """The model asked directly and through us, by turns."""
    with StampingModel(WORDS, PER_SECOND) as model:
        overrides = {"LLM_BASE_URL": model.url, "LLM_MODEL": MODEL}
        with Stack(folder, None, only=_PARTS, overrides=overrides) as stack:
            bases = (model.address, stack.url("gateway"))
            pairs = [tuple(map(_ask, bases)) for _ in range(WARM + TURNS)][WARM:]
    first = _p95(pairs, lambda took: took.first)
    total = _p95(pairs, lambda took: took.total)
    words = f"{WORDS} words at {PER_SECOND:.0f}/s, {TURNS} turns, p95 directly and through us"
    _say(f"first word, {words}: {first[0]:.0f} and {first[1]:.0f} ms, +{first[1] - first[0]:.0f}", GOAL_FIRST_MS)
    _say(f"the whole, {words}: {total[0]:.0f} and {total[1]:.0f} ms, +{total[1] - total[0]:.0f}", GOAL_TOTAL_MS)
    return first[1] - first[0] <= GOAL_FIRST_MS and total[1] - total[0] <= GOAL_TOTAL_MS


def _ask(base: str) -> Took:
    """One chat completion, as a stream."""
    body = {"stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with _line(base) as line:
        began, first = time.perf_counter(), 0.0
        line.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = line.getresponse()
        while heard := answer.readline():
            if not first and _is_word(heard):
                first = time.perf_counter()
            if heard.startswith(b"data: [DONE]"):
                break
        ended = time.perf_counter()
    if not first:
        sys.exit(f"{base} answered {answer.status} and no word")
    return Took((first - began) * 1000, (ended - began) * 1000)


def _is_word(heard: bytes) -> bool:
    if not heard.startswith(b"data: {"):
        return False
    return any(choice["delta"].get("content") for choice in json.loads(heard[6:])["choices"])


def _p95(pairs: list[tuple[Took, ...]], of: Callable[[Took], float]) -> list[float]:
    return [sorted(map(of, ways))[int(0.95 * len(ways))] for ways in zip(*pairs, strict=True)]


def _many(folder: Path) -> bool:
    """As many turns as the worker has threads, all at once."""
    with StampingModel(WORDS, SLOW_PER_SECOND) as model:
        overrides = {"LLM_BASE_URL": model.url, "LLM_MODEL": MODEL, "CONVERSATION_CONCURRENCY": str(AT_ONCE)}
        with Stack(folder, None, only=_PARTS, overrides=overrides) as stack:
            worker = psutil.Process(stack.status()[_WORKER].pid)
            peak = _Peak(worker)
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(lambda number: _post(stack.url("gateway"), f"at-once-{number}"), range(AT_ONCE)))
            dsn = stack.environment["POSTGRES_DSN"]
            seconds, slowest = _until_all_are_answered(dsn, peak)
    bare = WORDS / SLOW_PER_SECOND
    _say(
        f"{AT_ONCE} turns at once on one worker, {WORDS} words at {SLOW_PER_SECOND}/s ({bare:.0f} s): {seconds:.1f} s "
        f"in all, the slowest {slowest:.1f} s, {seconds / slowest:.2f} of it",
        GOAL_RATIO,
    )
    _say(f"its memory, {peak.first:.0f} MiB before, {peak.highest:.0f} MiB at most", GOAL_MIB)
    return seconds / slowest <= GOAL_RATIO and peak.highest <= GOAL_MIB


class _Peak:
    """A process's resident memory in MiB, at first and at most."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.first = self.highest = self._now()

    def look(self) -> None:
        self.highest = max(self.highest, self._now())

    def _now(self) -> float:
        return float(self._process.memory_info().rss) / 2**20


def _until_all_are_answered(dsn: str, peak: _Peak) -> tuple[float, float]:
    """Seconds from the first message to the last answer, and from the beginning of the slowest answer to its end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            peak.look()
            cursor.execute(_ENDED)
            if cursor.fetchone() == (AT_ONCE, 0):
                break
            time.sleep(0.2)
        cursor.execute(_LASTED)
        seconds, slowest = cursor.fetchone() or (0.0, 1.0)
    connection.close()
    return float(seconds), float(slowest)


def _post(base: str, session_id: str) -> None:
    with _line(base) as line:
        _say_on(line, session_id)


def _say_on(line: HTTPConnection, session_id: str) -> None:
    body = json.dumps({"session_id": session_id, "message": "hello"})
    line.request("POST", "/v1/session/message", body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    heard = answer.read()
    if answer.status != 200:
        sys.exit(f"a message was answered {answer.status}: {heard[:200].decode()}")


def _accept(folder: Path) -> bool:
    """Messages taken in a second, against the bare view, by turns; nobody answers them."""
    given = {"LLM_BASE_URL": "http://127.0.0.1:9/v1"}
    with Stack(folder, None, only=_GATEWAY, overrides=given) as stack, _bare_view(stack.environment, folder) as bare:
        bases = (bare, stack.url("gateway"))
        rates = [tuple(map(_rate, bases)) for _ in range(RUNS)]
    best, ours = (max(way) for way in zip(*rates, strict=True))
    _say(
        f"messages taken in, {CLIENTS} clients, best of {RUNS}: {ours:.0f}/s, a bare view {best:.0f}/s, "
        f"{ours / best:.2f} of it",
        GOAL_ACCEPT,
    )
    return ours / best >= GOAL_ACCEPT


@contextmanager
def _bare_view(environment: dict[str, str], folder: Path) -> Iterator[str]:
    connection = psycopg2.connect(environment["POSTGRES_DSN"])
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
    connection.close()
    port = free()["gateway"]
    own = {**os.environ, **environment, "GATEWAY_PORT": str(port), "METRICS_DIR": str(folder / "metrics")}
    (folder / "metrics").mkdir()
    argv = (sys.executable, "-m", "gunicorn", "--config", "python:app.gateway.server", "bench.bare_view:create_app()")
    process = subprocess.Popen(argv, env=own)
    try:
        yield _ready(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def _ready(base: str) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with _line(base) as line:
                line.request("GET", "/readyz")
                if line.getresponse().status == 200:
                    return base
        except OSError:
            time.sleep(0.1)
    sys.exit("the bare view did not start")


def _rate(base: str) -> float:
    until = time.monotonic() + SECONDS

    def work(_number: int) -> int:
        done, session_id = 0, f"accept-{threading.get_ident()}"
        with _line(base) as line:
            while time.monotonic() < until:
                _say_on(line, f"{session_id}-{done % 50}")
                done += 1
        return done

    with ThreadPoolExecutor(CLIENTS) as threads:
        return sum(threads.map(work, range(CLIENTS))) / SECONDS


def _say(found: str, goal: float) -> None:
    sys.stdout.write(f"{found}  goal {goal:g}\n")
    sys.stdout.flush()


_MEASURES: dict[str, Callable[[Path], bool]] = {"turn": _turn, "many": _many, "accept": _accept}


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))

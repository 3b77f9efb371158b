"""`make bench-conversation`: a whole turn against the model asked directly, 200 turns at once, and taking a message in.

The same client asks the scripted model and our OpenAI door by turns, so a busy machine is busy for both. 200 turns run
on one worker with a thread for each. Acceptance is held against bare views under the same gunicorn, by turns.
`python -m bench.conversation turn many accept` measures some of them.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg2

from bench.accepting import CLIENTS, GATEWAY, accept
from bench.doors import PATIENCE_SECONDS, line, post, say
from bench.stamping_model import MODEL, StampingModel
from devstack.stack import Stack

WORDS, PER_SECOND, TURNS, WARM = 50, 100.0, 40, 5
AT_ONCE, SLOW_PER_SECOND = 200, 2.5
GOAL_FIRST_MS, GOAL_TOTAL_MS, GOAL_RATIO, GOAL_MIB = 60.0, 80.0, 1.3, 400.0
_PARTS = {*GATEWAY, "brain", "worker-conversation", "beat"}
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
    say(f"first word, {words}: {first[0]:.0f} and {first[1]:.0f} ms, +{first[1] - first[0]:.0f}", GOAL_FIRST_MS)
    say(f"the whole, {words}: {total[0]:.0f} and {total[1]:.0f} ms, +{total[1] - total[0]:.0f}", GOAL_TOTAL_MS)
    return first[1] - first[0] <= GOAL_FIRST_MS and total[1] - total[0] <= GOAL_TOTAL_MS


def _ask(base: str) -> Took:
    """One chat completion, as a stream."""
    body = {"stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with line(base) as open_line:
        began, first = time.perf_counter(), 0.0
        open_line.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = open_line.getresponse()
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
                list(clients.map(lambda number: post(stack.url("gateway"), f"at-once-{number}"), range(AT_ONCE)))
            dsn = stack.environment["POSTGRES_DSN"]
            seconds, slowest = _until_all_are_answered(dsn, peak)
    bare = WORDS / SLOW_PER_SECOND
    say(
        f"{AT_ONCE} turns at once on one worker, {WORDS} words at {SLOW_PER_SECOND}/s ({bare:.0f} s): {seconds:.1f} s "
        f"in all, the slowest {slowest:.1f} s, {seconds / slowest:.2f} of it",
        GOAL_RATIO,
    )
    say(f"its memory, {peak.first:.0f} MiB before, {peak.highest:.0f} MiB at most", GOAL_MIB)
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


_MEASURES: dict[str, Callable[[Path], bool]] = {"turn": _turn, "many": _many, "accept": accept}


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))

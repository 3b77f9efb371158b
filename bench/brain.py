"""`make bench-brain`: what the memory service costs, on a Postgres of its own.

Remembering: batches over HTTP against a bare `execute_values` of the very same rows into a table with the same indexes,
in turns of a slice each, so that a busy machine is busy for both; `python -m bench.brain 1000 10000` goes up to these
sizes only.

Recall: 100,000 memories made of the words of our own documentation, as often as they occur there; by words alone and by
meaning too, also in turns. The vectors of the memories are real ones, mixed and blurred, because a hundred thousand
real ones would take hours; those of the questions are worked out in earnest, none is asked twice.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import requests
from psycopg2.extras import execute_values

from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from app.brain.bodies import Item
from app.brain.embeddings import E5, as_text
from app.brain.memories import Memories
from app.domain.memory import Place
from app.routing import ProcessName, command
from bench.pair import SIZES, climb
from bench.vectors import give_vectors
from devstack import ports
from devstack.stack import Stack

SLICE, BATCH = 1_000, 100
KEPT, WORDS, QUESTIONS = 100_000, 30, 200
GOAL_WRITE, GOAL_WORDS_MS, GOAL_MEANING_MS = 0.5, 60.0, 120.0

_COLUMNS = (
    "tenant, namespace, universe, key, value, about, tags, idempotency_key, digest, coordinate, words, expires_at"
)
_TWIN = "CREATE TABLE IF NOT EXISTS brain.bare (LIKE brain.memories INCLUDING ALL)"
_ROWS = f"SELECT {_COLUMNS.replace('value, about', 'value::text, about::text')} FROM brain.memories WHERE tenant = %s"
_INSERT = f"INSERT INTO brain.bare ({_COLUMNS}) VALUES %s ON CONFLICT DO NOTHING"


def main(sizes: tuple[int, ...] = SIZES) -> int:
    """Measure both; the exit status is 1 when a goal is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-brain-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations"}) as stack,
    ):
        dsn = stack.environment["POSTGRES_DSN"]
        sys.stdout.write(f"remember batch over HTTP, batches of {BATCH}, against a bare execute_values\n")
        ratio = remembering(dsn, sizes)
        sys.stdout.write(f"ratio of all together {ratio:.2f}  goal {GOAL_WRITE}\n")
        words, meaning = recalling(dsn)
    sys.stdout.write(
        f"recall over {KEPT} memories, {QUESTIONS} questions each, in turns\n"
        f"by words                         {_figures(words)}  goal p95 {GOAL_WORDS_MS:.0f}\n"
        f"by words and meaning             {_figures(meaning)}  goal p95 {GOAL_MEANING_MS:.0f}\n"
    )
    good = ratio >= GOAL_WRITE and _at(words, 95) <= GOAL_WORDS_MS and _at(meaning, 95) <= GOAL_MEANING_MS
    return 0 if good else 1


def remembering(dsn: str, sizes: tuple[int, ...]) -> float:
    """How fast it is over HTTP; 1 is as fast as bare."""
    with a_brain(dsn, "off") as brain, _connected(dsn) as connection:
        connection.cursor().execute(_TWIN)

        def measure(start: int, rows: int) -> tuple[int, float, float]:
            bodies = _bodies(f"served-{start}", _texts(rows))
            ours = _served(brain.url, bodies)
            return sum(map(len, bodies)), ours, _bare(connection, f"served-{start}")

        return climb(sizes, SLICE, brain.resident, measure).ratio


def recalling(dsn: str) -> tuple[list[float], list[float]]:
    """Milliseconds of every answer: by words, and by words and meaning."""
    memories = Memories(create_engine(dsn, 2, patience=UNHURRIED))
    for number in range(KEPT // SLICE):
        _keep(memories, _texts(SLICE, WORDS), f"{number}-")
    with _connected(dsn) as connection:
        model = E5()
        give_vectors(connection, "recall", [as_text(model.passage(text)) for text in _texts(200)])
        connection.cursor().execute("VACUUM ANALYZE brain.memories")
    with a_brain(dsn, "off") as words, a_brain(dsn, "auto") as meaning:
        found: tuple[list[float], list[float]] = ([], [])
        for brain in (words, meaning):
            _asked(brain.url, _texts(20, 8))
        for _ in range(QUESTIONS // 20):
            for brain, taken in zip((words, meaning), found, strict=True):
                taken += _asked(brain.url, _texts(20, 8))
    return found


def _bodies(tenant: str, texts: Sequence[str]) -> list[bytes]:
    bodies = []
    for start in range(0, len(texts), BATCH):
        items = [
            {"key": f"m-{start + n}", "value": {"content": text, "idempotency_key": f"i-{start + n}"}}
            for n, text in enumerate(texts[start : start + BATCH])
        ]
        bodies.append(json.dumps({"tenant": tenant, "namespace": "wm", "items": items}).encode())
    return bodies


def _served(url: str, bodies: Sequence[bytes]) -> float:
    session, began = requests.Session(), time.perf_counter()
    for body in bodies:
        session.post(f"{url}/memory/remember/batch", data=body, timeout=60).raise_for_status()
    return time.perf_counter() - began


def _keep(memories: Memories, texts: Sequence[str], mark: str) -> None:
    items = [(Item(key=f"m-{mark}{n}", value={"content": text}), f"i-{mark}{n}") for n, text in enumerate(texts)]
    for start in range(0, len(items), BATCH):
        memories.write(Place("recall", "wm", "real"), items[start : start + BATCH])


def _bare(connection: Any, tenant: str) -> float:
    """The rows as they came to be, in the same batches, each committed."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, (tenant,))
        rows = cursor.fetchall()
        began = time.perf_counter()
        for start in range(0, len(rows), BATCH):
            execute_values(cursor, _INSERT, rows[start : start + BATCH], page_size=BATCH)
        return time.perf_counter() - began


def _asked(url: str, questions: Sequence[str]) -> list[float]:
    session, taken = requests.Session(), []
    for question in questions:
        body = json.dumps({"tenant": "recall", "namespace": "wm", "query": question, "top_k": 5}).encode()
        began = time.perf_counter()
        answer = session.post(f"{url}/memory/recall", data=body, timeout=60)
        taken.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        if answer.json()["degraded"]:
            sys.stdout.write(f"degraded after {taken[-1]:.0f} ms: {answer.json()['degraded_reasons']}\n")
    return taken


@dataclass(frozen=True, slots=True)
class Brain:
    """The service, serving: where, and its first process."""

    url: str
    process: psutil.Process

    def resident(self) -> int:
        """Bytes of all its processes."""
        return sum(each.memory_info().rss for each in (self.process, *self.process.children(recursive=True)))


@contextmanager
def a_brain(dsn: str, embeddings: str) -> Iterator[Brain]:
    """The service in a process of its own, as it is started in earnest."""
    port = ports.free()["brain"]
    given = {"POSTGRES_DSN": dsn, "BRAIN_PORT": str(port), "BRAIN_EMBEDDINGS": embeddings}
    process = subprocess.Popen([sys.executable, "-m", *command(ProcessName.BRAIN)], env={**os.environ, **given})
    url = f"http://127.0.0.1:{port}"
    try:
        _until_it_answers(url)
        yield Brain(url, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/health", timeout=5).json()["ok"]:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise SystemExit("the memory service did not start")


@contextmanager
def _connected(dsn: str) -> Iterator[Any]:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def _vocabulary() -> list[str]:
    """The words of our documentation, each as often as it occurs there."""
    paths = sorted(Path(__file__).parents[1].glob("docs/**/*.md"))
    return re.findall(r"[a-zA-Z]{2,}", " ".join(path.read_text(encoding="utf-8") for path in paths).lower())


_SAID = _vocabulary()
_CHANCE = random.Random(5)


def _texts(number: int, words: int = WORDS) -> list[str]:
    return [" ".join(_CHANCE.choices(_SAID, k=words)) for _ in range(number)]


def _figures(taken: Sequence[float]) -> str:
    return f"p50 {_at(taken, 50):6.1f} ms  p95 {_at(taken, 95):6.1f} ms  max {max(taken):6.1f} ms"


def _at(taken: Sequence[float], percent: int) -> float:
    return sorted(taken)[min(len(taken) * percent // 100, len(taken) - 1)]


if __name__ == "__main__":
    sys.exit(main(tuple(map(int, sys.argv[1:])) or SIZES))

"""`make bench-drain`: how fast a backlog of memories reaches the memory service, against a bare loop.

Both speak to the same built-in memory service of a stack of its own, with the same payloads: the bare loop posts
batches to `/memory/remember/batch` and does nothing else; the delivery worker's code claims rows, offers them, settles
them and writes their records for Kafka, in as many threads as the worker has for it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import requests
from sqlalchemy import Engine, text

from app.adapters.http.brain import HttpBrain
from app.adapters.sql.engine import create_engine
from app.adapters.sql.outboxes import SqlMemoryOutbox
from app.adapters.sql.presence import Presence
from app.adapters.sql.rows import owe_memory
from app.domain.memory import Memory, Place
from app.domain.ramp import Ramp
from app.routing import WORKERS, ProcessName
from app.services.sync_memories import MemoryPlane, Pace, sync_due_memories
from app.settings import read
from app.wiring.process import SystemClock
from bench.nobody import NobodyHears
from devstack.stack import Stack

MEMORIES, SLICE, BATCH, GOAL = 10_000, 1_000, 100, 0.7
THREADS = WORKERS[ProcessName.WORKER_DELIVERY].concurrency - 1
"""The worker's threads, but for the one that sends to Kafka what they make it owe."""


def main() -> int:
    """Measure both in turns of a slice each, so that a busy machine is busy for both; 1 when the goal is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-drain-") as folder,
        Stack(Path(folder), None, only={"postgres", "migrations", "brain"}) as stack,
    ):
        bare, drained = _measure(stack)
    sys.stdout.write(
        f"{MEMORIES} memories each, in turns of {SLICE}\n"
        f"bare loop over the batch route   {MEMORIES / bare:7.0f}/s\n"
        f"the delivery worker's code       {MEMORIES / drained:7.0f}/s\n"
        f"ratio {bare / drained:.2f}  goal {GOAL}\n"
    )
    return 0 if bare / drained >= GOAL else 1


def _measure(stack: Stack) -> tuple[float, float]:
    engine = create_engine(stack.environment["POSTGRES_DSN"], 5)
    presence = Presence(create_engine(stack.environment["POSTGRES_DSN"], 1), "bench", 30)
    presence.start()
    plane = _plane(stack, engine, presence)
    bare = drained = 0.0
    for number in range(MEMORIES // SLICE):
        bare += _seconds(partial(_bare_loop, stack.url("brain"), _memories(f"bare-{number}")))
        _owe(engine, _memories(f"drained-{number}"))
        drained += _seconds(partial(_drain, plane))
    presence.stop()
    engine.dispose()
    return bare, drained


def _seconds(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _memories(mark: str) -> list[Memory]:
    said = "what was said in this place, at the length of an everyday message " * 4
    return [
        Memory(
            f"{mark}-{number}", Place("bench", "wm", ""), f"{mark}-s{number % 100}", None, "user",
            {"id": f"{mark}-{number}", "type": "conversation_event", "content": f"{number} {said}", "metadata": {}},
            f"bench/wm/{mark}/user/{number}",
        )
        for number in range(SLICE)
    ]  # fmt: skip


def _bare_loop(url: str, memories: Sequence[Memory]) -> None:
    session = requests.Session()
    for start in range(0, SLICE, BATCH):
        items = [
            {"key": each.event_id, "value": {**each.payload, "idempotency_key": each.idempotency_key, "universe": ""}}
            for each in memories[start : start + BATCH]
        ]
        body = json.dumps({"tenant": "bench", "namespace": "wm", "items": items}).encode()
        answer = session.post(
            f"{url}/memory/remember/batch", data=body, headers={"Content-Type": "application/json"}, timeout=30
        )
        answer.raise_for_status()


def _owe(engine: Engine, memories: Sequence[Memory]) -> None:
    with engine.begin() as connection:
        for memory in memories:
            owe_memory(connection, memory)
        connection.execute(text("ANALYZE memory_write_outbox"))


def _plane(stack: Stack, engine: Engine, presence: Presence) -> MemoryPlane:
    nobody = NobodyHears()
    brain = HttpBrain.from_settings(read({"SOMA_BASE_URL": stack.url("brain")}))
    outbox = SqlMemoryOutbox(engine, presence, 30, "memory.wal")
    return MemoryPlane(outbox, brain, nobody, nobody, SystemClock(), Pace(Ramp(full=BATCH)))


def _drain(plane: MemoryPlane) -> None:
    """Every round rings for the next one, and every sweep rings as well: a backlog fills the worker's threads."""
    with ThreadPoolExecutor(THREADS) as threads:
        for thread in [threads.submit(_rounds, plane) for _ in range(THREADS)]:
            thread.result()


def _rounds(plane: MemoryPlane) -> None:
    while sync_due_memories(plane).ok:
        pass


if __name__ == "__main__":
    sys.exit(main())

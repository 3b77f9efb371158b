"""What can happen to Kafka and to those who read it: down, stopped, a zombie reader, readers that come and go."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

from drills.gates import kafka_is_silent
from drills.trouble import Stage

NAME = "kafka"
FIRST, SECOND = "worker-replicator", "worker-replicator-2"
TAKEN_OVER = "every partition went on beside a frozen replicator after at most, s"
_OFFSETS = "SELECT partition, next_offset FROM replicator_offsets"
TAKE_OVER_SECONDS = 10.0
BATCH_SECONDS = 20.0
_HOLD_ROWS = "LOCK TABLE memory_replica IN SHARE MODE"
_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'memory_replica'::regclass AND NOT granted"


def down(stage: Stage) -> None:
    """Away for 40 s."""
    with stage.without(NAME):
        stage.feel(lambda: kafka_is_silent(stage.stack.environment["KAFKA_BOOTSTRAP_SERVERS"]))
        stage.rest(40)


def freeze(stage: Stage) -> None:
    """SIGSTOP for 30 s."""
    with stage.frozen(NAME):
        stage.feel(lambda: kafka_is_silent(stage.stack.environment["KAFKA_BOOTSTRAP_SERVERS"]))
        stage.rest(30)


def zombie(stage: Stage) -> None:
    """Stop a replicator past its session beside a live one, then let it go on with partitions that it has lost."""
    with stage.joined_by(SECOND):
        time.sleep(8)  # both have joined the group
        for _ in range(stage.times(2)):
            with stage.frozen(FIRST):
                stage.feel(lambda: stage.stack.status()[FIRST].state == "frozen")
                _await_takeover(stage)
            time.sleep(4)


def _await_takeover(stage: Stage) -> None:
    """Felt once every partition moves on without the frozen reader."""
    began = time.monotonic()
    places = _places(stage)
    stage.feel(lambda: _all_moved(places, _places(stage)))
    seconds = round(time.monotonic() - began, 1)
    stage.figures[TAKEN_OVER] = max(stage.figures.get(TAKEN_OVER, 0.0), seconds)
    if seconds > TAKE_OVER_SECONDS:
        stage.later.append(lambda: [f"partitions of a frozen replicator stood still for {seconds} s"])
    time.sleep(max(0.0, 8 - seconds))  # in any case longer than the session


def _places(stage: Stage) -> dict[int, int]:
    return {int(number): int(offset) for number, offset in stage.sql(_OFFSETS)}


def _all_moved(before: dict[int, int], now: dict[int, int]) -> bool:
    return all(now[number] > offset for number, offset in before.items())


def come_and_go(stage: Stage) -> None:
    """Two replicators, one of them ended and started again every 3 s; then one killed in the middle of its batch."""
    with stage.joined_by(SECOND):
        for turn in range(stage.times(8)):
            part = (FIRST, SECOND)[turn % 2]
            before = stage.stack.status()[part].pid
            stage.stack.restart(part)
            stage.felt += stage.stack.status()[part].pid != before
            stage.rest(3)
    for _ in range(stage.times(3)):
        _kill_in_the_middle(stage)
        stage.rest(3)


def _kill_in_the_middle(stage: Stage) -> None:
    """SIGKILL a replicator at the moment when the rows of its batch wait to be written."""
    before = stage.stack.status()[FIRST].pid
    with _rows_held_back(stage):
        deadline = time.monotonic() + BATCH_SECONDS
        while not stage.sql(_WAITING)[0][0]:
            if time.monotonic() > deadline:
                stage.later.append(lambda: ["no batch of the replicator could be met in its middle"])
                return
            time.sleep(0.02)
        stage.stack.kill(FIRST)
    stage.stack.wait_ready(FIRST)
    stage.felt += stage.stack.status()[FIRST].pid != before
    stage.stack.up(FIRST)  # as in `Stage.kill`


@contextmanager
def _rows_held_back(stage: Stage) -> Iterator[None]:
    """While the block runs, whoever writes to the replica waits; reading goes on."""
    with closing(psycopg2.connect(stage.stack.environment["POSTGRES_DSN"], connect_timeout=3)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(_HOLD_ROWS)
        yield

"""What can happen to Postgres: stopped at once, its backends stopped, its connections used up."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import psycopg2

from drills.trouble import Stage

NAME = "postgres"
_BACKENDS = """
    SELECT pid FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name <> '' AND pid <> pg_backend_pid()
"""
_MOST_CONNECTIONS, _HANDS = 200, 8


def refuses(stage: Stage) -> bool:
    """Whether nobody can open a session now."""
    try:
        psycopg2.connect(stage.stack.environment["POSTGRES_DSN"], connect_timeout=2).close()
    except psycopg2.OperationalError:
        return True
    return False


def stop_at_once(stage: Stage) -> None:
    """An immediate stop (SIGQUIT: no checkpoint, every session cut), away for 8 s."""
    os.kill(stage.stack.status()[NAME].pid, signal.SIGQUIT)
    with stage.without(NAME):
        stage.feel(lambda: refuses(stage))
        time.sleep(8)


def stop_backends(stage: Stage) -> None:
    """SIGSTOP every backend that serves the product for 15 s: connections that are open and never answer."""
    with _stopped([int(row[0]) for row in stage.sql(_BACKENDS)]) as pids:
        stage.felt += any(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids)
        stage.rest(15)


@contextmanager
def _stopped(pids: list[int]) -> Iterator[list[int]]:
    try:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        yield [pid for pid in pids if psutil.pid_exists(pid)]
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def exhaust(stage: Stage) -> None:
    """Take every connection that can be had and hold them for 15 s, with whatever somebody gives back meanwhile."""
    with ExitStack() as held:
        _take(stage, _MOST_CONNECTIONS, held)
        stage.feel(lambda: refuses(stage))
        until = time.monotonic() + 15
        while time.monotonic() < until:
            stage.rest(0.2)
            _take(stage, _HANDS, held)


def _take(stage: Stage, tries: int, held: ExitStack) -> None:
    with ThreadPoolExecutor(_HANDS) as hands:
        for connection in hands.map(lambda _: _connected(stage), range(tries)):
            if connection is not None:
                held.callback(connection.close)


def _connected(stage: Stage) -> Any:
    try:
        return psycopg2.connect(stage.stack.environment["POSTGRES_DSN"], connect_timeout=3)
    except psycopg2.OperationalError:
        return None

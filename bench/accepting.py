"""Messages taken in a second, held against bare views under the same gunicorn, by turns."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2

from bench.bare_view import SCHEMA
from bench.doors import line, say, say_on
from devstack.ports import free
from devstack.stack import Stack

GATEWAY = frozenset({"postgres", "migrations", "redis", "gateway"})
"""The parts that taking a message needs."""
CLIENTS, SECONDS, RUNS, GOAL_ACCEPT = 8, 4.0, 3, 0.7


def accept(folder: Path) -> bool:
    """Messages taken in a second, against the bare views, by turns; nobody answers them."""
    given = {"LLM_BASE_URL": "http://127.0.0.1:9/v1"}
    with Stack(folder, None, only=GATEWAY, overrides=given) as stack, ExitStack() as views:
        _prepare(stack.environment["POSTGRES_DSN"])
        bare = [
            views.enter_context(_view(maker, stack.environment, folder)) for maker in ("create_app", "create_least")
        ]
        rates = [tuple(map(_rate, (*bare, stack.url("gateway")))) for _ in range(RUNS)]
    best, least, ours = (max(way) for way in zip(*rates, strict=True))
    say(
        f"messages taken in, {CLIENTS} clients, best of {RUNS}: {ours:.0f}/s, a bare view {best:.0f}/s, "
        f"{ours / best:.2f} of it",
        GOAL_ACCEPT,
    )
    sys.stdout.write(
        f"the least that keeping a message takes, its rows and one ring: {least:.0f}/s, {least / best:.2f} of the bare "
        f"view; ours is {ours / least:.2f} of that\n"
    )
    return ours / best >= GOAL_ACCEPT


def _prepare(dsn: str) -> None:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(SCHEMA)
    connection.close()


@contextmanager
def _view(maker: str, environment: dict[str, str], folder: Path) -> Iterator[str]:
    metrics, port = folder / maker, free()["gateway"]
    metrics.mkdir()
    own = {**os.environ, **environment, "GATEWAY_PORT": str(port), "METRICS_DIR": str(metrics)}
    argv = (sys.executable, "-m", "gunicorn", "--config", "python:app.gateway.server", f"bench.bare_view:{maker}()")
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
            with line(base) as open_line:
                open_line.request("GET", "/readyz")
                if open_line.getresponse().status == 200:
                    return base
        except OSError:
            time.sleep(0.1)
    sys.exit("the bare view did not start")


def _rate(base: str) -> float:
    until = time.monotonic() + SECONDS

    def work(_number: int) -> int:
        done, session_id = 0, f"accept-{threading.get_ident()}"
        with line(base) as open_line:
            while time.monotonic() < until:
                say_on(open_line, f"{session_id}-{done % 50}")
                done += 1
        return done

    with ThreadPoolExecutor(CLIENTS) as threads:
        return sum(threads.map(work, range(CLIENTS))) / SECONDS

"""How many connections stay open between calls over HTTP: what is used often, and never one for each thread."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.adapters.http.bounded import BoundedHttp
from app.adapters.http.kept_sessions import MOST_KEPT
from tests.conftest import eventually

CALLERS = 3 * MOST_KEPT


class Peer(ThreadingHTTPServer):
    """Answers; while `together` is set, only once so many ask at one time. Counts the connections that it has."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.together: threading.Barrier | None = None
        self.open = self.opened = 0
        self.lock = threading.Lock()

    def count(self, change: int) -> None:
        with self.lock:
            self.open += change
            self.opened += max(change, 0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def setup(self) -> None:
        super().setup()
        self.server.count(1)

    def finish(self) -> None:
        super().finish()
        self.server.count(-1)

    def do_GET(self) -> None:
        if self.server.together is not None:
            self.server.together.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(http: BoundedHttp, peer: Peer) -> bytes:
    return http.send("GET", peer.url, {}, None, 10).body


def test_a_crowd_of_threads_leaves_few_connections_behind(peer: Peer) -> None:
    http, peer.together = BoundedHttp(100), threading.Barrier(CALLERS)

    with ThreadPoolExecutor(CALLERS) as crowd:
        answers = list(crowd.map(lambda _: ask(http, peer), range(CALLERS)))

        assert answers == [b"ok"] * CALLERS
        assert peer.opened == CALLERS
        eventually(lambda: peer.open == MOST_KEPT, 5)


def test_whoever_asks_one_after_the_other_shares_one_connection(peer: Peer) -> None:
    http = BoundedHttp(100)

    for _ in range(CALLERS):
        with ThreadPoolExecutor(1) as somebody_else:
            assert somebody_else.submit(ask, http, peer).result() == b"ok"

    assert peer.opened == 1


def test_a_forked_process_uses_connections_of_its_own(peer: Peer) -> None:
    http = BoundedHttp(100)
    ask(http, peer)

    child = os.fork()
    if child == 0:
        os._exit(0 if ask(http, peer) == b"ok" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert ask(http, peer) == b"ok"
    assert peer.opened == 2

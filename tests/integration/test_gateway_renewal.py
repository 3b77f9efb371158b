"""The gateway begins anew, by itself or when asked to, without anybody being turned away."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
import requests

from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Gateway

CLIENTS = 6
LONGEST_WAIT_SECONDS = 5.0


@pytest.fixture
def own_gateway(servers: Stack) -> Iterator[Gateway]:
    running = Gateway(servers.environment).start()
    yield running
    running.stop()


def workers_of(gateway: Gateway) -> dict[int, psutil.Process]:
    return {child.pid: child for child in psutil.Process(gateway.process.pid).children()}


class Crowd:
    """Clients that post without a pause, half of them on a connection that they keep; how each post ended: `cut` off
    with the process that had it in hand, or `refused`.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._enough = threading.Event()
        self.took: list[float] = []
        self.cut: list[str] = []
        self.refused: list[str] = []

    @contextmanager
    def posting(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._post_on, keeps=bool(number % 2)) for number in range(CLIENTS)]
            try:
                eventually(lambda: len(self.took) > CLIENTS)
                yield
            finally:
                self._enough.set()
        for client in clients:
            client.result()

    def _post_on(self, keeps: bool) -> None:
        with requests.Session() as kept:
            kept.headers["Connection"] = "keep-alive" if keeps else "close"
            while not self._enough.is_set():
                self._post(kept)

    def _post(self, client: requests.Session) -> None:
        began = time.monotonic()
        try:
            answer = client.post(
                f"{self._gateway.base}/v1/session/message",
                json={"message": "hello", "session_id": an_id("s-")},
                timeout=20,
            )
            if answer.status_code != 200:
                self.refused.append(f"{answer.status_code} {answer.text}")
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            self.cut.append(repr(error))
        self.took.append(time.monotonic() - began)


def test_a_reload_turns_nobody_away_and_nobody_waits_long(
    own_gateway: Gateway, record_property: Callable[[str, object], None]
) -> None:
    crowd = Crowd(own_gateway)
    with crowd.posting():
        for _ in range(3):
            before = set(workers_of(own_gateway))
            own_gateway.process.send_signal(signal.SIGHUP)
            eventually(lambda before=before: len(set(workers_of(own_gateway)) - before) == len(before))
            eventually(lambda before=before: not before & set(workers_of(own_gateway)))

    record_property("longest_post_seconds", round(max(crowd.took), 2))
    assert not crowd.cut + crowd.refused
    assert max(crowd.took) < LONGEST_WAIT_SECONDS


def test_a_killed_worker_is_replaced_before_anybody_waits_long(
    own_gateway: Gateway, record_property: Callable[[str, object], None]
) -> None:
    crowd = Crowd(own_gateway)
    with crowd.posting():
        for pid, worker in workers_of(own_gateway).items():
            worker.kill()
            eventually(lambda pid=pid: pid not in (now := workers_of(own_gateway)) and len(now) > 1)

    record_property("longest_post_seconds", round(max(crowd.took), 2))
    record_property("cut_off", len(crowd.cut))
    assert not crowd.refused, "only what the killed one had in hand is lost"
    assert max(crowd.took) < LONGEST_WAIT_SECONDS


def test_workers_inherit_no_connection_and_no_thread(own_gateway: Gateway) -> None:
    own_gateway.say()
    master = psutil.Process(own_gateway.process.pid)
    doors = [link for link in master.net_connections("tcp") if link.status == psutil.CONN_LISTEN]

    assert master.num_threads() == 1
    assert master.net_connections("tcp") == doors
    for worker in workers_of(own_gateway).values():
        assert worker.is_running()


def test_the_metrics_of_a_renewed_gateway_know_nothing_of_the_process_that_only_forks(own_gateway: Gateway) -> None:
    for _ in range(20):
        own_gateway.say()
    text = own_gateway.get("/metrics").text

    assert f'pid="{own_gateway.process.pid}"' not in text
    posted = [line for line in text.splitlines() if line.startswith("gateway_requests_total") and "POST" in line]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in posted) == 20

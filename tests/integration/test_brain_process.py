"""The `brain` process as it is started in earnest, with Postgres going away and coming back behind it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from sqlalchemy.engine import make_url

from app.adapters.http.brain import HttpBrain
from app.domain.errors import BrainUnavailable
from app.routing import ProcessName, command
from app.settings import read
from tests.conftest import eventually
from tests.contracts.brain_rig import Cable, a_memory, brain_database

_QUICKLY = 2.0
_UNHURRIED = 1.0  # what a busy machine may add


@dataclass
class Running:
    url: str
    cable: Cable
    environment: dict[str, str]
    tenant: str = "t1"
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        argv = [sys.executable, "-m", *command(ProcessName.BRAIN)]
        self.process = subprocess.Popen(argv, env=self.environment, start_new_session=True)
        _until(self.healthy, 60)

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def remember(self, key: str) -> requests.Response:
        body = {"tenant": self.tenant, "namespace": "wm", "key": key, "value": {"content": key, "idempotency_key": key}}
        return requests.post(f"{self.url}/memory/remember", data=json.dumps(body), timeout=10)

    def recall(self, query: str) -> list[str]:
        body = {"tenant": self.tenant, "namespace": "wm", "query": query}
        answer = requests.post(f"{self.url}/memory/recall", data=json.dumps(body), timeout=10).json()
        return [hit["key"] for hit in answer["results"]]

    def kept(self) -> list[tuple[str, int]]:
        page = requests.get(f"{self.url}/memory/items", params={"tenant": self.tenant, "limit": 500}, timeout=10).json()
        return [(item["key"], item["writes"]) for item in page["items"]]

    def healthy(self) -> bool:
        try:
            return bool(requests.get(f"{self.url}/health", timeout=3).json()["ok"])
        except requests.RequestException:
            return False


@contextmanager
def a_brain(server_dsn: str, workers: int) -> Iterator[Running]:
    with brain_database(server_dsn) as dsn:
        address = make_url(dsn)
        cable = Cable(address.host or "127.0.0.1", address.port or 5432)
        near = address.set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)
        port = _free_port()
        environment = {**os.environ, "POSTGRES_DSN": near, "BRAIN_PORT": str(port), "BRAIN_WORKERS": str(workers)}
        brain = Running(f"http://127.0.0.1:{port}", cable, environment)
        try:
            brain.start()
            yield brain
        finally:
            cable.thaw()
            brain.stop()
            cable.cut()


@pytest.fixture(scope="module")
def shared(servers: Any) -> Iterator[Running]:
    with a_brain(servers.environment["POSTGRES_DSN"], workers=1) as brain:
        yield brain


@pytest.fixture
def running(shared: Running) -> Running:
    shared.tenant = f"t-{uuid.uuid4()}"
    return shared


def test_what_it_answered_for_is_kept_when_it_is_killed(running: Running) -> None:
    keys = [f"m-{n:02}" for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(running.remember, keys))
    assert {answer.status_code for answer in answers} == {200}
    running.kill()
    running.start()
    assert running.kept() == [(key, 1) for key in keys]


def test_what_was_kept_is_understood_soon_also_after_a_kill(running: Running) -> None:
    assert running.recall("how do we call the pet cat?") == []
    assert running.remember("our kitten is named Miso").status_code == 200
    running.kill()
    running.start()
    eventually(lambda: running.recall("how do we call the pet cat?") == ["our kitten is named Miso"])


def test_without_postgres_it_answers_503_at_once_and_takes_up_again(running: Running) -> None:
    assert running.remember("m-1").status_code == 200
    running.cable.cut()
    for _ in range(3):
        answer, seconds = _timed(lambda: running.remember("m-2"))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert seconds < _QUICKLY
    assert not running.healthy()
    running.cable.mend()
    _until(running.healthy, 15)
    assert running.remember("m-2").status_code == 200
    assert running.kept() == [("m-1", 1), ("m-2", 1)]


def test_a_frozen_postgres_holds_nobody(running: Running) -> None:
    assert running.remember("m-1").status_code == 200
    running.cable.freeze()
    with ThreadPoolExecutor(8) as pool:
        timed = list(pool.map(lambda n: _timed(lambda: running.remember(f"m-{n}")), range(2, 10)))
    assert {answer.status_code for answer, _ in timed} == {503}
    assert max(seconds for _, seconds in timed) < _QUICKLY + _UNHURRIED
    running.cable.thaw()
    _until(running.healthy, 15)
    assert running.remember("m-2").status_code == 200
    assert all(writes == 1 for _, writes in running.kept())


def test_the_client_waits_out_an_outage_of_the_store(running: Running) -> None:
    client = HttpBrain.from_settings(read({"SOMA_BASE_URL": running.url}))
    assert client.healthy()
    running.cable.cut()
    assert not client.healthy()
    with pytest.raises(BrainUnavailable) as caught:
        client.remember(a_memory("m-1"))
    assert caught.value.retry_after == 1
    running.cable.mend()
    _until(client.healthy, 15)
    assert client.remember(a_memory("m-1")).kept


def test_a_body_without_a_length_is_cut_off_too(running: Running) -> None:
    answer = requests.post(f"{running.url}/memory/remember", data=iter([b" " * 65_536] * 40), timeout=10)
    assert answer.status_code in (413, 422)


def test_metrics_count_over_all_workers(servers: Any) -> None:
    with a_brain(servers.environment["POSTGRES_DSN"], workers=2) as running:
        for n in range(20):
            running.remember(f"m-{n}")
        shown = requests.get(f"{running.url}/metrics", timeout=5).text
    line = next(
        line for line in shown.splitlines() if line.startswith('brain_memories_written_total{result="written"}')
    )
    assert float(line.split()[-1]) == 20


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _timed(call: Callable[[], requests.Response]) -> tuple[requests.Response, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def _until(condition: Callable[[], bool], seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it did not come about in time"
        time.sleep(0.05)

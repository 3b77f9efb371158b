"""`python -m devstack run` as a person meets it: Ctrl-C, kill -9, a second terminal, a busy port. Nothing is left."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.settings import Settings
from devstack import place

pytestmark = pytest.mark.servers


ENVIRONMENT = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}


def run_command(data_dir: Path) -> list[str]:
    """A launcher on free ports that no setting of the person who runs the tests can reach."""
    options = ["--data-dir", str(data_dir), "--port-offset", "free", "--env-file", os.devnull]
    return [sys.executable, "-m", "devstack", "run", *options]


class Launched:
    """A launcher in a process of its own, and what it has said so far."""

    def __init__(self, data_dir: Path, *only: str, extra: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        self._said = (data_dir.parent / f"{data_dir.name}.said").open("w+")
        self.process = subprocess.Popen(
            [*run_command(data_dir), "--only", ",".join(only), *extra],
            cwd=place.ROOT,
            env=ENVIRONMENT,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        return Path(self._said.name).read_text()

    def until_ready(self) -> "Launched":
        until(lambda: "ready after" in self.said() or self.process.poll() is not None, 60)
        assert "ready after" in self.said(), self.said()
        return self

    def ports(self) -> list[int]:
        return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", self.said())]

    def others(self) -> list[psutil.Process]:
        """Every process of the stack but the launcher itself."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def guard(self) -> psutil.Process:
        return next(process for process in self.others() if "watch.py" in " ".join(process.cmdline()))

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            arguments = process.cmdline()
            return process.pid != self.process.pid and any(str(self.data_dir) in word for word in arguments)
        except psutil.Error:
            return False

    def assert_nothing_is_left(self, seconds: float) -> None:
        until(lambda: not self.others(), seconds)
        until(lambda: not any(_answers(port) for port in self.ports()), 1)
        until(lambda: not place.is_locked(self.data_dir), 2)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def command(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "devstack", *arguments, "--data-dir", str(data_dir)],
        cwd=place.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Starts launchers and ends them whatever the test did to them."""
    started: list[Launched] = []

    def start(*only: str, name: str = "var", extra: tuple[str, ...] = ()) -> Launched:
        started.append(Launched(tmp_path / name, *only, extra=extra))
        return started[-1]

    yield start
    for launched in started:
        launched.process.kill()
        launched.process.wait()
    for launched in started:
        launched.assert_nothing_is_left(20)


Launch = Callable[..., Launched]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_in_order(launch: Launch, number: int) -> None:
    launched = launch("redis").until_ready()
    launched.process.send_signal(number)
    assert launched.process.wait(15) == 0
    launched.assert_nothing_is_left(0.5)
    assert "everything has ended" in launched.said()


def test_all_servers_end_within_fifteen_seconds_of_ctrl_c(launch: Launch) -> None:
    launched = launch("postgres", "redis", "kafka").until_ready()
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(15) == 0
    launched.assert_nothing_is_left(0.5)


def test_ctrl_c_during_the_start_calls_it_off(launch: Launch) -> None:
    launched = launch("postgres", "redis", "kafka")
    until(lambda: "redis" in launched.said())
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(15) == 0
    launched.assert_nothing_is_left(0.5)


def test_a_second_ctrl_c_ends_at_once_what_does_not_listen(launch: Launch) -> None:
    launched = launch("redis").until_ready()
    redis = next(process for process in launched.others() if "valkey" in process.name())
    redis.suspend()
    launched.process.send_signal(signal.SIGINT)
    until(lambda: "once more" in launched.said())
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(15) == 0
    launched.assert_nothing_is_left(0.5)


def test_kill_9_of_the_launcher_leaves_nothing(launch: Launch) -> None:
    launched = launch("postgres", "redis", "kafka").until_ready()
    assert len(launched.others()) >= 4
    launched.process.kill()
    launched.process.wait()
    launched.assert_nothing_is_left(15)


def test_kill_9_of_the_launcher_ends_even_what_is_frozen(launch: Launch) -> None:
    launched = launch("postgres", "redis").until_ready()
    assert command(launched.data_dir, "freeze", "postgres").returncode == 0
    launched.process.kill()
    launched.process.wait()
    launched.assert_nothing_is_left(15)


def test_a_guard_that_is_killed_is_replaced(launch: Launch) -> None:
    launched = launch("redis").until_ready()
    first = launched.guard()
    first.kill()
    until(lambda: "a new one is on duty" in launched.said())
    assert launched.guard().pid != first.pid
    launched.process.kill()
    launched.process.wait()
    launched.assert_nothing_is_left(15)


def test_what_launcher_and_guard_left_behind_is_ended_by_the_next_start(launch: Launch) -> None:
    launched = launch("redis").until_ready()
    launched.process.send_signal(signal.SIGSTOP)
    launched.guard().kill()
    launched.process.kill()
    launched.process.wait()
    orphan = next(process for process in launched.others() if "valkey" in process.name())
    again = launch("redis").until_ready()
    until(lambda: not orphan.is_running())
    assert again.process.poll() is None


def test_a_start_right_after_kill_9_waits_for_the_guard(launch: Launch) -> None:
    launched = launch("postgres", "redis").until_ready()
    launched.process.kill()
    launched.process.wait()
    launch("postgres", "redis").until_ready()


def test_a_second_run_in_the_same_folder_is_refused(launch: Launch) -> None:
    first = launch("redis").until_ready()
    second = launch("redis")
    assert second.process.wait(20) == 1
    assert "a stack already runs" in second.said()
    assert "PORT_OFFSET" in second.said()
    assert first.process.poll() is None
    assert command(first.data_dir, "status").returncode == 0


def test_a_busy_port_is_named_and_nothing_is_started(launch: Launch, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        environment = {**ENVIRONMENT, "GATEWAY_PORT": str(port)}
        done = subprocess.run(
            run_command(tmp_path / "busy"),
            cwd=place.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port} (gateway) taken by another program" in done.stderr
    assert not (tmp_path / "busy" / "postgres").exists()


def test_a_download_that_fails_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    nowhere = {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    environment = {**ENVIRONMENT, **nowhere, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        run_command(tmp_path / "var"),
        cwd=place.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Kafka's download failed" in done.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert not (tmp_path / "var" / "postgres").exists()


def test_the_end_of_the_parent_ends_the_stack(launch: Launch, tmp_path: Path) -> None:
    said = tmp_path / "said"
    words = " ".join(f"'{word}'" for word in run_command(tmp_path / "child"))
    script = f"{words} --only redis --end-with-parent > '{said}' 2>&1 & wait"
    parent = subprocess.Popen(["sh", "-c", script], cwd=place.ROOT, env=ENVIRONMENT)
    until(lambda: said.exists() and "ready after" in said.read_text(), 40)
    parent.kill()
    parent.wait()
    until(lambda: "everything has ended" in said.read_text(), 15)
    until(lambda: not place.is_locked(tmp_path / "child"), 5)


def test_another_terminal_sees_and_steers_the_stack(launch: Launch) -> None:
    launched = launch("redis").until_ready()
    data_dir = launched.data_dir
    before = _pid_of(data_dir, "redis")
    assert command(data_dir, "kill", "redis").returncode == 0
    until(lambda: _pid_of(data_dir, "redis") not in (0, before))
    until(lambda: "starting again in" in launched.said())
    assert command(data_dir, "down", "redis").returncode == 0
    assert _pid_of(data_dir, "redis") == 0
    assert command(data_dir, "up", "redis").returncode == 0
    assert command(data_dir, "freeze", "redis").returncode == 0
    assert " frozen " in command(data_dir, "status").stdout
    assert command(data_dir, "thaw", "redis").returncode == 0
    assert "eady to accept connections" in command(data_dir, "logs", "redis").stdout
    refused = command(data_dir, "kill", "cat")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert command(data_dir, "stop").returncode == 0
    assert launched.process.wait(5) == 0


def _pid_of(data_dir: Path, name: str) -> int:
    lines = command(data_dir, "status").stdout.splitlines()
    return next(int(line.split()[2]) for line in lines if line.startswith(name))


def test_without_a_stack_each_command_is_one_line(tmp_path: Path) -> None:
    for arguments in (("status",), ("kill", "redis"), ("stop",), ("logs", "redis")):
        done = command(tmp_path, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)

"""A tool may do what it likes: its run ends in time, in words, and nothing of it stays."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from app.adapters.tool_process import ToolProcesses
from app.domain.tool_ports import How, ToolRun
from tests.builders import a_tool_call
from tests.conftest import ROOT, eventually

TOOLS = ToolProcesses("tests.odd_tools", timeout_seconds=60)


def odd(how: str, runner: ToolProcesses = TOOLS) -> ToolRun:
    return runner.run(a_tool_call("odd", {"how": how}), lambda: False, 0)


def test_a_tool_runs_in_a_process_of_its_own_and_answers() -> None:
    found = TOOLS.run(a_tool_call("echo", {"text": "Ärger 🙂"}), lambda: False, 0)

    assert (found.how, found.value) == (How.ANSWERED, {"text": "Ärger 🙂"})
    assert found.seconds > 0


def test_what_a_tool_prints_is_no_answer() -> None:
    found = odd("prints")

    assert (found.how, found.value) == (How.ANSWERED, None)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fails", "ValueError: there is no such city"),
        ("answers no JSON", "not JSON serializable"),
        ("answers without end", "more than 1048576 bytes"),
    ],
)
def test_a_tool_that_does_not_answer_as_it_should_fails_in_words(how: str, words: str) -> None:
    found = odd(how)

    assert found.how is How.FAILED
    assert words in found.reason


def test_a_tool_whose_process_is_killed_is_broken() -> None:
    found = odd("is killed")

    assert (found.how, found.reason) == (How.BROKEN, "Its process ended with signal 9 and without an answer")


def test_a_tool_that_hangs_is_stopped_at_its_time() -> None:
    found = odd("hangs", ToolProcesses("tests.odd_tools", timeout_seconds=0.5))

    assert found.how is How.TIMED_OUT
    assert "after 0.5 s" in found.reason
    assert found.seconds < 10


def test_a_worker_that_is_to_end_does_not_wait_for_what_can_be_repeated() -> None:
    found = TOOLS.run(a_tool_call("odd", {"how": "hangs"}), lambda: True, 0)

    assert found.how is How.INTERRUPTED
    assert found.seconds < 10


def test_a_tool_has_its_grace_once_its_worker_is_to_end() -> None:
    found = TOOLS.run(a_tool_call("echo", {"text": "hi"}), lambda: True, 30)

    assert found.how is How.ANSWERED


def test_what_a_tool_leaves_behind_is_ended_with_it() -> None:
    assert odd("leaves a child").how is How.ANSWERED

    eventually(lambda: not any("left-behind" in (p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])))


def test_a_tool_knows_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://soma:secret@127.0.0.1/soma")
    monkeypatch.setenv("SOMA_API_KEY_FILE", "secret")
    monkeypatch.setenv("MY_TOOL_KEY", "its own")

    known = odd("tells its environment").value

    assert "MY_TOOL_KEY" in known
    assert not {"POSTGRES_DSN", "SOMA_API_KEY_FILE"} & set(known)


def test_a_tool_does_not_outlive_a_worker_that_is_killed() -> None:
    script = (
        "from app.adapters.tool_process import ToolProcesses; from tests.builders import a_tool_call;"
        "ToolProcesses('tests.odd_tools', 600).run(a_tool_call('odd', {'how': 'hangs'}), lambda: False, 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    worker = subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=ROOT)
    try:
        tool = eventually(lambda: psutil.Process(worker.pid).children())[0]
        eventually(lambda: tool.num_threads() > 1)  # it has read its call and watches over its parent
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    began = time.monotonic()
    eventually(lambda: not tool.is_running() or tool.status() == psutil.STATUS_ZOMBIE)
    assert time.monotonic() - began < 5

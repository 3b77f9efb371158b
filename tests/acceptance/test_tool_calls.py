"""Tools and the end of their worker, on the whole line: what writes runs at most once, the rest ends well."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import requests

from devstack.stack import Stack
from drills.slow_tool import LEDGER
from tests.acceptance.following import call
from tests.builders import an_id
from tests.conftest import eventually

PARTS = {"postgres", "redis", "kafka", "migrations", "gateway", "beat", "worker-delivery", "worker-tools", "brain"}
WORKER = "worker-tools"


@dataclass
class Line:
    """The running line, and the ledger that every run of a slow tool leaves a line in."""

    stack: Stack

    @property
    def base(self) -> str:
        return self.stack.url("gateway")

    def ask(self, tool: str, seconds: float) -> tuple[str, str]:
        """An accepted call: its session and its mark in the ledger."""
        session_id = an_id("s-")
        mark = session_id[:40]
        body = {"session_id": session_id, "tool_name": tool, "args": {"seconds": seconds, "mark": mark}}
        assert call(self.base, "/v1/tool/request", body)["status"] == "enqueued"
        return session_id, mark

    def runs(self) -> Counter[str]:
        path = self.stack.data_dir / "run" / LEDGER
        return Counter(path.read_text().split() if path.exists() else [])

    def results(self, session_id: str) -> list[dict[str, Any]]:
        events = call(self.base, f"/v1/sessions/{session_id}/events")["events"]
        return [event["payload"] for event in events if event["payload"]["type"] == "tool.result"]

    def result(self, session_id: str) -> dict[str, Any]:
        """The one end of a call."""
        eventually(lambda: self.results(session_id), 60)
        (only,) = self.results(session_id)
        return only

    def remembered(self, session_id: str) -> list[dict[str, Any]]:
        found = call(self.base, f"/v1/admin/memory?session_id={session_id}")["items"]
        return [item["payload"] for item in found]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("tools")
    chosen = PARTS | {"worker-replicator"}
    with Stack(folder, None, only=chosen, overrides={"TOOL_MODULES": "drills.slow_tool"}) as running:
        yield Line(running)


def both_running(line: Line, seconds: float) -> list[tuple[str, str]]:
    """A call that writes and one that may be repeated, both in the middle of their first run."""
    calls = [line.ask("slow_write", seconds), line.ask("slow_again", seconds)]
    eventually(lambda: all(line.runs()[mark] == 1 for _, mark in calls), 60)
    return calls


def test_a_result_is_an_event_and_a_memory_in_the_replica(line: Line) -> None:
    session_id, mark = line.ask("slow_write", 0.1)

    told = line.result(session_id)

    assert (told["status"], told["payload"]) == ("success", {"slept": 0.1, "mark": mark})
    eventually(lambda: line.remembered(session_id), 60)
    (memory,) = line.remembered(session_id)
    assert (memory["type"], memory["tool_name"], memory["status"]) == ("tool_result", "slow_write", "success")
    counted = requests.get(f"{line.stack.url(WORKER)}/metrics", timeout=5).text
    assert 'tool_executor_requests_total{outcome="success",tool="slow_write"} 1.0' in counted


@pytest.mark.parametrize("blow", ["SIGTERM", "SIGKILL"])
def test_a_worker_that_ends_in_the_middle_costs_no_call_and_doubles_no_write(line: Line, blow: str) -> None:
    (write, its_mark), (again, other_mark) = both_running(line, 8)
    began = time.monotonic()

    if blow == "SIGTERM":
        line.stack.restart(WORKER)
    else:
        line.stack.kill(WORKER)
        line.stack.wait_ready(WORKER)

    unknown, repeated = line.result(write), line.result(again)
    assert (unknown["status"], repeated["status"]) == ("error", "success")
    assert "whether it took effect is not known" in unknown["metadata"]["reason"]
    assert (line.runs()[its_mark], line.runs()[other_mark]) == (1, 2)
    assert time.monotonic() - began < 60


def test_a_write_that_ends_within_its_grace_succeeds_although_its_worker_ends(line: Line) -> None:
    session_id, mark = line.ask("slow_write", 2)
    eventually(lambda: line.runs()[mark] == 1, 60)

    line.stack.restart(WORKER)

    assert line.result(session_id)["status"] == "success"
    assert line.runs()[mark] == 1


def test_the_end_of_a_worker_leaves_no_tool_behind(line: Line) -> None:
    both_running(line, 30)
    worker = psutil.Process(line.stack.status()[WORKER].pid)
    tools = [child for child in worker.children(recursive=True) if "app.tools.child" in child.cmdline()]
    assert len(tools) == 2

    worker.terminate()

    eventually(lambda: not worker.is_running())
    _, left = psutil.wait_procs(tools, timeout=2)
    line.stack.wait_ready(WORKER)
    assert not left

"""An answer that calls tools, on the whole line with a scripted model behind real HTTP, while workers are killed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from devstack.stack import Stack
from drills.slow_tool import LEDGER
from tests.acceptance.following import Follower, call
from tests.builders import an_id
from tests.conftest import eventually
from tests.unit.model_peer import Line as Request
from tests.unit.model_peer import ModelPeer

pytestmark = pytest.mark.servers

PARTS = {
    "postgres", "redis", "kafka", "migrations", "gateway", "beat", "brain", "worker-delivery", "worker-tools",
    "worker-conversation",
}  # fmt: skip
ANSWER = "Both have slept."


@dataclass
class Playwright:
    """A model that has two slow tools called, then answers; `heard` are the results that it was sent, by message."""

    heard: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def reply(self, line: Request) -> None:
        mark = next(said["content"] for said in reversed(line.body["messages"]) if said["role"] == "user")
        results = [json.loads(said["content"]) for said in line.body["messages"] if said["role"] == "tool"]
        line.begin()
        if results:
            self.heard[mark] = results
            line.say("Both have ", "slept.", finish="stop")
        else:
            line.say("Let me have them called.")
            self._ask(line, mark)
        line.event("[DONE]")

    def _ask(self, line: Request, mark: str) -> None:
        for index, tool in enumerate(("slow_write", "slow_again")):
            arguments = json.dumps({"seconds": 4, "mark": f"{mark[:40]}-{tool}"})
            function = {"name": tool, "arguments": arguments}
            asked = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
            line.event({"choices": [{"index": 0, "delta": {"tool_calls": [asked]}, "finish_reason": None}]})
        line.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})


@dataclass
class Play:
    """The running line and its model."""

    stack: Stack
    model: Playwright

    def say(self) -> tuple[str, Follower]:
        """An accepted message with a mark of its own, and somebody who follows its answer."""
        mark = an_id("m-")
        gateway = self.stack.url("gateway")
        accepted = call(gateway, "/v1/session/message", {"message": mark})
        follower = Follower(gateway, accepted["session_id"], memories=0)
        follower.start()
        return mark, follower

    def runs(self, mark: str, tool: str) -> int:
        path = self.stack.data_dir / "run" / LEDGER
        return path.read_text().split().count(f"{mark[:40]}-{tool}") if path.exists() else 0


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    model = Playwright()
    peer = ModelPeer(model.reply)
    settings = {"TOOL_MODULES": "drills.slow_tool", "LLM_BASE_URL": peer.base}
    try:
        with Stack(tmp_path_factory.mktemp("loop"), None, only=PARTS, overrides=settings) as running:
            yield Play(running, model)
    finally:
        peer.close()


@pytest.mark.parametrize("victim", ["", "worker-conversation", "worker-tools"])
def test_an_answer_calls_its_tools_whoever_dies_meanwhile_and_what_writes_runs_once(play: Play, victim: str) -> None:
    mark, follower = play.say()
    eventually(lambda: play.runs(mark, "slow_write") == play.runs(mark, "slow_again") == 1)

    if victim:
        play.stack.kill(victim)
        play.stack.wait_ready(victim)

    (end,) = eventually(lambda: follower.endings, 120)
    assert (end["type"], end["message"], follower.wrong) == ("assistant.final", ANSWER, [])
    write, again = play.model.heard[mark]
    assert again["status"] == "success"
    assert write["status"] == ("error" if victim == "worker-tools" else "success")
    assert play.runs(mark, "slow_write") == 1
    assert play.runs(mark, "slow_again") == (2 if victim == "worker-tools" else 1)

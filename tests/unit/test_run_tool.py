"""A tool call ends once and says how; what only reads is repeated, what writes runs at most once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app.domain.leases import MAX_ATTEMPTS
from app.domain.tool_ports import How, ToolRun
from app.domain.tools import MAX_RESULT_BYTES, Effect, ToolCall, ToolRequest
from app.routing import TaskName
from app.services.run_tool import GRACE_SECONDS, MAX_BREAKS, ToolMeter, Workbench, run_tool
from tests.builders import a_tool_request
from tests.fakes import FakeClock, InMemoryStore, RecordingBroadcast, RecordingDoorbell, Ring, ScriptedPolicy
from tests.fakes_store import FakePresence

ANSWER = ToolRun(How.ANSWERED, 0.25, {"text": "hi"})
INTERRUPTED = ToolRun(How.INTERRUPTED, 5.0, reason="Its worker was stopped in the middle")
BROKEN = ToolRun(How.BROKEN, 0.1, reason="Its process ended with signal 9 and without an answer")
TOO_LONG = ToolRun(How.TIMED_OUT, 60.0, reason="It was stopped after 60 s.")
Script = ToolRun | Callable[[], ToolRun]


@dataclass
class ScriptedRunner:
    """`ToolRunner` that ends its runs as told, the last way for ever."""

    script: list[Script]
    ran: list[tuple[str, Mapping[str, Any], float]] = field(default_factory=list)

    def run(self, call: ToolCall, stopping: Callable[[], bool], grace_seconds: float) -> ToolRun:
        self.ran.append((call.tool, call.args, grace_seconds))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step if isinstance(step, ToolRun) else step()


@dataclass
class Scene:
    """A worker, its tools and what it told whom."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    bell: RecordingDoorbell = field(default_factory=RecordingDoorbell)
    shown: RecordingBroadcast = field(default_factory=RecordingBroadcast)
    counted: list[tuple[Any, ...]] = field(default_factory=list)
    stopping: bool = False
    policy: ScriptedPolicy = field(default_factory=ScriptedPolicy)
    decided: list[tuple[str, str]] = field(default_factory=list)

    def request(self, effect: Effect = Effect.READ) -> ToolRequest:
        asked = a_tool_request(effect)
        self.store.tool_requests().accept(asked, None)
        return asked

    def bench(self, *script: Script, presence: FakePresence | None = None) -> Workbench:
        owner = presence or self.store.presence("worker")
        owner.start()
        self.runner = ScriptedRunner(list(script))
        return Workbench(
            self.store.tool_calls(owner), self.runner, self.shown, self.bell, self.store.clock,
            lambda: self.stopping, ("", "wm"), self.policy,
            meter=ToolMeter(lambda *told: self.counted.append(told), lambda *told: self.counted.append(told),
                            decided=lambda *told: self.decided.append(told)),
        )  # fmt: skip

    def run(self, asked: ToolRequest, *script: Script) -> str:
        return run_tool(asked.call_id, self.bench(*script))

    def die_with(self, asked: ToolRequest) -> None:
        """A worker claims the call and is gone."""
        victim = self.store.presence("victim")
        victim.start()
        assert self.store.tool_calls(victim).claim(asked.call_id) is not None
        victim.stop()
        self.store.end_leases_of_the_dead()

    def state(self, asked: ToolRequest) -> str:
        return self.store.call_rows.rows[asked.call_id].state

    def events(self, asked: ToolRequest) -> list[str]:
        return [event.type.value for event in self.store.events[asked.session_id]]

    def last(self, asked: ToolRequest) -> Mapping[str, Any]:
        return self.store.events[asked.session_id][-1].metadata

    def memories(self) -> list[Mapping[str, Any]]:
        return [row.thing.payload for row in self.store.memory_rows.rows.values()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_call_runs_and_its_result_is_an_event_and_a_memory(scene: Scene) -> None:
    asked = scene.request()

    assert scene.run(asked, ANSWER) == "succeeded"

    assert scene.runner.ran == [("echo", {"text": "hi"}, 0.0)]
    assert scene.events(asked) == ["tool.start", "tool.start", "tool.result"]
    assert [item["type"] for item in scene.shown.shown[asked.session_id]] == ["tool.start", "tool.result"]
    (memory,) = scene.memories()
    assert (memory["type"], memory["status"], memory["content"]) == ("tool_result", "success", '{"text": "hi"}')
    assert scene.bell.tasks == [TaskName.SYNC_MEMORIES]
    assert scene.counted == [("echo", "success", 0.25)]


def test_a_second_ring_finds_nothing_to_do(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)
    scene.run(asked, ANSWER)

    assert scene.run(asked, ANSWER) == "nothing to do"

    assert scene.runner.ran == []


@pytest.mark.parametrize("effect", [Effect.READ, Effect.IDEMPOTENT])
def test_what_can_be_repeated_is_run_again_after_a_death(scene: Scene, effect: Effect) -> None:
    asked = scene.request(effect)
    scene.die_with(asked)

    assert scene.run(asked, ANSWER) == "succeeded"


def test_what_writes_is_not_run_again_after_a_death_and_says_so(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)
    scene.die_with(asked)

    assert scene.run(asked, ANSWER) == "unknown"

    assert scene.runner.ran == []
    assert "whether it took effect is not known" in scene.last(asked)["reason"]
    assert scene.state(asked) == "unknown"
    assert scene.counted == [("echo", "unknown", 0.0)]
    assert scene.memories()[0]["status"] == "error"


def test_a_forgiven_death_does_not_make_a_write_run_twice(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)
    scene.die_with(asked)
    scene.store.call_rows.rows[asked.call_id].excused += 1

    assert scene.run(asked, ANSWER) == "unknown"


def test_a_call_that_kills_its_workers_is_set_aside_after_five(scene: Scene) -> None:
    asked = scene.request()
    for _ in range(MAX_ATTEMPTS):
        scene.die_with(asked)

    assert scene.run(asked, ANSWER) == "dead"

    assert scene.runner.ran == []
    assert scene.events(asked)[-1] == "tool.result"
    assert "stopped its worker 5 times" in scene.last(asked)["reason"]
    assert scene.memories() == []


def test_a_worker_that_is_to_end_takes_no_new_call(scene: Scene) -> None:
    asked = scene.request()
    scene.stopping = True

    assert scene.run(asked, ANSWER) == "nothing to do"

    assert scene.state(asked) == "queued"


def test_a_worker_that_nobody_can_see_yet_takes_no_call(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)

    assert run_tool(asked.call_id, replace(scene.bench(ANSWER), present=lambda: False)) == "nothing to do"

    assert scene.state(asked) == "queued"


def test_an_interrupted_call_that_can_be_repeated_is_given_back(scene: Scene) -> None:
    asked = scene.request(Effect.IDEMPOTENT)

    assert scene.run(asked, INTERRUPTED) == "given back"

    assert scene.state(asked) == "queued"
    assert scene.bell.rings == [Ring(TaskName.EXECUTE_TOOL, (asked.call_id,))]
    assert scene.counted == [("echo", "shutdown")]
    assert scene.run(asked, ANSWER) == "succeeded"
    assert scene.store.call_rows.rows[asked.call_id].attempts - scene.store.call_rows.rows[asked.call_id].excused == 0


def test_an_interrupted_write_has_a_moment_and_then_is_unknown(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)

    assert scene.run(asked, INTERRUPTED) == "unknown"

    assert scene.runner.ran[0][2] == GRACE_SECONDS
    assert scene.run(asked, ANSWER) == "nothing to do"
    assert "is not known" in scene.last(asked)["reason"]


def test_a_run_beyond_its_time_fails_as_a_timeout(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)

    assert scene.run(asked, TOO_LONG) == "failed"

    assert (scene.last(asked)["status"], scene.last(asked)["execution_time"]) == ("timeout", 60.0)
    assert scene.counted == [("echo", "timeout", 60.0)]


def test_a_tool_that_fails_says_why(scene: Scene) -> None:
    asked = scene.request()

    assert scene.run(asked, ToolRun(How.FAILED, 0.1, reason="ValueError: no such city")) == "failed"

    assert scene.last(asked)["reason"] == "ValueError: no such city"


def test_a_process_that_breaks_is_tried_again_a_few_times(scene: Scene) -> None:
    asked = scene.request()
    for _ in range(MAX_BREAKS - 1):
        assert scene.run(asked, BROKEN) == "postponed"
        assert scene.run(asked, BROKEN) == "nothing to do"
        scene.store.clock.advance(minutes=2)

    assert scene.run(asked, BROKEN) == "failed"


def test_a_process_that_breaks_while_it_writes_is_not_tried_again(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)

    assert scene.run(asked, BROKEN) == "unknown"

    assert "signal 9" in scene.last(asked)["reason"]


@pytest.mark.parametrize("value", ["x" * MAX_RESULT_BYTES, "a\x00b", float("nan"), "\ud800"])
def test_a_result_that_cannot_be_kept_fails_in_words(scene: Scene, value: Any) -> None:
    asked = scene.request()

    assert scene.run(asked, ToolRun(How.ANSWERED, 0.1, value)) == "failed"

    assert "result" in scene.last(asked)["reason"]


def test_a_result_waits_for_postgres(scene: Scene) -> None:
    class HealingClock(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            scene.store.down = False

    scene.store.clock = HealingClock()
    asked = scene.request(Effect.WRITE)

    def outage() -> ToolRun:
        scene.store.down = True
        return ANSWER

    assert scene.run(asked, outage) == "succeeded"


def test_a_zombies_result_is_dropped(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)

    def frozen() -> ToolRun:
        scene.store.clock.advance(seconds=31)
        other = scene.store.presence("other")
        other.start()
        assert scene.store.tool_calls(other).claim(asked.call_id) is not None
        return ANSWER

    assert scene.run(asked, frozen) == "lease lost"

    assert "tool.result" not in scene.events(asked)


def test_the_policy_is_asked_right_before_the_run_of_what_and_with_which_arguments(scene: Scene) -> None:
    asked = scene.request(Effect.WRITE)

    scene.run(asked, ANSWER)

    (question,) = scene.policy.asked
    assert (question.action, question.resource, question.tenant) == ("tool.run", "echo", asked.tenant)
    assert question.context == {"effect": "write", "args": {"text": "hi"}}
    assert scene.decided == [("echo", "allow")]


def test_a_call_that_the_policy_does_not_allow_ends_as_blocked_and_never_runs(scene: Scene) -> None:
    asked = scene.request()
    scene.policy.says = False

    assert scene.run(asked, ANSWER) == "failed"

    assert (scene.runner.ran, scene.decided) == ([], [("echo", "deny")])
    assert scene.events(asked) == ["tool.start", "tool.result"]
    assert scene.last(asked)["status"] == "blocked"
    assert "does not allow this call of the tool echo" in scene.last(asked)["reason"]
    assert scene.counted == [("echo", "blocked", 0.0)]


@pytest.mark.parametrize("effect", Effect)
def test_while_nobody_decides_a_call_waits_and_runs_once_somebody_does(scene: Scene, effect: Effect) -> None:
    asked = scene.request(effect)
    scene.policy.says = None
    for _ in range(MAX_BREAKS + MAX_ATTEMPTS):
        assert scene.run(asked, ANSWER) == "undecided"
        assert scene.run(asked, ANSWER) == "nothing to do"
        scene.store.clock.advance(12)
    assert (scene.runner.ran, set(scene.decided)) == ([], {("echo", "none")})

    scene.policy.says = True

    assert scene.run(asked, ANSWER) == "succeeded"

"""`remember` and `recall`: the memories of whoever asked, kept once for each call, found in its tenant and place."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.domain.finding import Found, Source
from app.domain.memory import Place
from app.domain.recall import Question
from app.domain.tool_ports import How, ToolRun
from app.domain.tools import Effect, ToolCall
from app.routing import TaskName
from app.services.keep_memories import MemoryDoor
from app.services.recall_memories import Recall
from app.services.run_tool import Workbench, run_tool
from app.services.serve_memory_tools import MemoriesOfCalls
from app.services.sync_memories import MemoryPlane
from app.tools.inside import InsideTools
from app.tools.loading import load_tools
from tests.builders import a_memory, a_tool_call, a_tool_request
from tests.fakes import InMemoryBrain, InMemoryStore, RecordingBroadcast, RecordingDoorbell, ScriptedPolicy

HERE = Place("t1", "wm", "u-1")


class Nobody:
    """`ToolRunner` that is never asked."""

    def run(self, call: ToolCall, _stopping: Any, _grace: float) -> ToolRun:
        raise AssertionError(f"{call.tool} was to run elsewhere")


@dataclass
class Room:
    """A tools worker with a SomaBrain; `copied` is what the replica finds."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    brain: InMemoryBrain = field(default_factory=InMemoryBrain)
    bell: RecordingDoorbell = field(default_factory=RecordingDoorbell)
    copied: list[Found] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def pending(self, question: Question) -> list[Found]:
        self.questions.append(question)
        return []

    def replica(self, question: Question) -> list[Found]:
        return self.copied

    def runner(self) -> InsideTools:
        shown = RecordingBroadcast()
        plane = MemoryPlane(self.store.memory_outbox("p-1"), self.brain, self.bell, shown, self.store.clock)
        ledger = self.store.ledger()
        recall = Recall(self.brain, self, ledger, 0.25)
        memories = MemoriesOfCalls(MemoryDoor(ledger, plane), recall, self.store.clock, "u-0", "wm")
        return InsideTools(load_tools(""), memories, Nobody())

    def run(self, tool: str, args: dict[str, Any], **fields: Any) -> ToolRun:
        call = a_tool_call(tool, args, **{"metadata": {"universe_id": "u-1"}, **fields})
        return self.again(call)

    def again(self, call: ToolCall) -> ToolRun:
        return self.runner().run(call, lambda: False, 0)


@pytest.fixture
def room() -> Room:
    return Room()


def test_what_is_remembered_is_a_memory_of_the_calls_session_and_place(room: Room) -> None:
    call = a_tool_call(
        "remember", {"content": "Ann likes tea.", "tags": ["tea"]}, metadata={"universe_id": "u-1"}, persona_id="p-7"
    )

    run = room.again(call)

    assert (run.how, run.value["remembered"], run.value["queued"]) == (How.ANSWERED, True, False)
    memory = room.store.memory_rows.rows[run.value["memory_id"]].thing
    assert (memory.place, memory.session_id, memory.persona_id) == (HERE, call.session_id, "p-7")
    assert (memory.payload["content"], memory.payload["metadata"]) == ("Ann likes tea.", {"tags": ["tea"]})
    assert room.brain.kept.keys() == {(HERE, memory.event_id)}


def test_a_call_that_runs_again_keeps_nothing_twice(room: Room) -> None:
    call = a_tool_call("remember", {"content": "Ann likes tea."})
    first = room.again(call)
    room.store.clock.advance(minutes=1)

    second = room.again(call)

    assert (second.how, second.value) == (How.ANSWERED, first.value)
    assert len(room.store.memory_rows.rows) == 1


def test_while_somabrain_is_away_a_memory_is_kept_and_owed(room: Room) -> None:
    room.brain.down = True

    run = room.run("remember", {"content": "Ann likes tea."})

    assert (run.how, run.value["remembered"], run.value["queued"]) == (How.ANSWERED, False, True)
    assert room.store.memory_rows.rows[run.value["memory_id"]].state == "pending"
    assert TaskName.SYNC_MEMORIES in room.bell.tasks


def test_a_memory_that_was_forgotten_is_not_kept_again_and_says_so(room: Room) -> None:
    call = a_tool_call("remember", {"content": "Ann likes tea."})
    kept = room.again(call).value["memory_id"]
    room.store.ledger().forget(kept, "t1")

    run = room.again(call)

    assert run.how is How.FAILED
    assert "was forgotten" in run.reason


def test_what_is_recalled_is_of_the_callers_tenant_and_place(room: Room) -> None:
    mine, strangers = a_memory("Ann likes tea", HERE), a_memory("Bob likes tea", Place("t2", "wm", "u-1"))
    room.store.ledger().accept([mine, strangers])
    for memory in (mine, strangers):
        room.brain.remember(memory)

    run = room.run("recall", {"query": "who likes tea", "top_k": 3})

    assert [found["content"] for found in run.value["memories"]] == ["Ann likes tea"]
    assert not run.value["degraded"]
    assert [(question.place, question.top_k) for question in room.questions] == [(HERE, 3)]


def test_recall_answers_without_somabrain_too(room: Room) -> None:
    room.brain.down = True
    room.copied = [Found("m-1", "Ann likes tea", 1.0, "user", "s-9", Source.REPLICA, None)]

    run = room.run("recall", {"query": "tea"})

    assert run.value == {
        "memories": [{"content": "Ann likes tea", "role": "user", "session_id": "s-9", "created_at": None}],
        "degraded": True,
    }


def test_long_memories_are_cut_so_that_all_of_them_fit_into_a_result(room: Room) -> None:
    room.brain.down = True
    room.copied = [Found(f"m-{n}", "ä" * 50_000, 1.0, "user", "s-9", Source.REPLICA, None) for n in range(20)]
    request = a_tool_request(tool="recall", args={"query": "tea", "top_k": 20}, effect=Effect.READ)
    room.store.tool_requests().accept(request, None)
    presence = room.store.presence("worker")
    presence.start()
    bench = Workbench(
        room.store.tool_calls(presence), room.runner(), RecordingBroadcast(), room.bell, room.store.clock,
        lambda: False, None, ScriptedPolicy(),
    )  # fmt: skip

    assert run_tool(request.call_id, bench) == "succeeded"


def test_while_postgres_is_away_a_call_is_tried_again_later(room: Room) -> None:
    room.store.down = True

    run = room.run("remember", {"content": "Ann likes tea."})

    assert (run.how, "Postgres" in run.reason) == (How.BROKEN, True)


def test_arguments_that_no_longer_fit_fail_in_words(room: Room) -> None:
    assert room.run("recall", {"words": "tea"}).how is How.FAILED


def test_every_other_tool_runs_elsewhere(room: Room) -> None:
    with pytest.raises(AssertionError, match="echo was to run elsewhere"):
        room.run("echo", {"text": "hi"})

"""A message whose answer calls tools, over HTTP on real Postgres and Redis: what is streamed, and what is stopped."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.domain.dialogue import ToolAsk
from app.services.plan_step import Tooling
from app.services.run_tool import ToolMeter, Workbench, run_tool
from app.settings import Settings
from app.tools.loading import load_tools
from app.wiring.process import Process
from app.wiring.tooling import workbench_of
from tests.conftest import eventually
from tests.fakes import RecordingDoorbell, ScriptedModel
from tests.integration.gateway_process import Answerer, Gateway
from tests.unit.session_history import Reader

TOOLS = Tooling(load_tools(""))


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[Workbench]:
    """A tools worker inside the test."""
    process = Process(settings.model_copy(update={"soma_base_url": "http://127.0.0.1:1"}))
    vars(process)["doorbell"] = RecordingDoorbell()
    eventually(process.presence.is_known)
    yield workbench_of(process, lambda: False, ToolMeter())
    process.presence.stop()


def asks(*texts: str) -> list[ToolAsk]:
    return [ToolAsk(f"a-{number}", "echo", f'{{"text": "{said}"}}') for number, said in enumerate(texts)]


def calls(engine: Engine, event_id: str, state: str = "queued") -> list[str]:
    statement = "SELECT call_id FROM tool_calls WHERE turn_event_id = :id AND state = :state ORDER BY call_id"
    with engine.begin() as connection:
        return list(connection.execute(text(statement), {"id": event_id, "state": state}).scalars())


def events(gateway: Gateway, session_id: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]]


def test_whoever_reads_along_ends_with_the_final_answer(
    gateway: Gateway, answerer: Answerer, engine: Engine, worker: Workbench
) -> None:
    receipt = gateway.say("what does it say?")
    session_id, event_id = receipt["session_id"], receipt["event_id"]
    model = ScriptedModel(["Let me ", "see.", *asks("one", "two")], ["Now ", "I know."])
    reader = Reader()
    with gateway.sse(session_id) as items:
        assert answerer.answer_with(event_id, model, TOOLS) == "waits for tools"
        assert answerer.answer_with(event_id, model, TOOLS) == "nothing to do"
        assert [run_tool(call_id, worker) for call_id in calls(engine, event_id)] == ["succeeded"] * 2
        assert answerer.answer_with(event_id, model, TOOLS) == "done"
        for item in items:
            if item["type"] not in ("memory.status", "ping"):
                reader.hear(item)
            if item["type"] == "assistant.final":
                break

    assert item["message"] == "Now I know."
    assert [event["type"] for event in events(gateway, session_id)] == [
        "user", "assistant.started", "assistant.thinking", *["tool.start"] * 3, "tool.result", "tool.start",
        "tool.result", "assistant.thinking", "assistant.final",
    ]  # fmt: skip
    assert [line.answers for line in model.asked[1] if line.role == "tool"] == ["a-0", "a-1"]
    assert (TOOLS.max_steps, item["metadata"]["attempt"]) == (8, 2)


def test_an_answer_that_waits_for_its_tools_is_stopped_at_once(
    gateway: Gateway, answerer: Answerer, engine: Engine, worker: Workbench
) -> None:
    receipt = gateway.say("what does it say?")
    session_id, event_id = receipt["session_id"], receipt["event_id"]
    answerer.answer_with(event_id, ScriptedModel(asks("one", "two")), TOOLS)
    queued = calls(engine, event_id)

    answer = gateway.call("POST", f"/v1/session/{session_id}/cancel", json={})

    assert answer.json() == {"cancelled": True}
    assert events(gateway, session_id)[-1]["type"] == "assistant.cancelled"
    assert calls(engine, event_id, "cancelled") == queued
    assert [run_tool(call_id, worker) for call_id in queued] == ["nothing to do"] * 2


def test_the_end_of_a_call_rings_for_the_turn_that_waits(
    gateway: Gateway, answerer: Answerer, engine: Engine, worker: Workbench
) -> None:
    event_id = gateway.say()["event_id"]
    answerer.answer_with(event_id, ScriptedModel(asks("one")), TOOLS)
    bell = RecordingDoorbell()

    run_tool(*calls(engine, event_id), replace(worker, doorbell=bell))

    assert (event_id,) in [ring.ids for ring in bell.rings]

"""From POST to the memory of a result: tool calls over HTTP, on the real Postgres and Redis, in real processes."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.desk import WorkName
from app.domain.leases import MAX_ATTEMPTS
from app.routing import TaskName
from app.services.run_tool import ToolMeter, Workbench, run_tool
from app.services.sweep import sweep
from app.settings import Settings
from app.wiring.process import Process
from app.wiring.tooling import workbench_of
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.contracts.store_rig import PostgresRig
from tests.fakes import RecordingDoorbell
from tests.integration.gateway_process import Gateway, assert_problem


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[Workbench]:
    """A tools worker inside the test."""
    process = Process(settings.model_copy(update={"soma_base_url": "http://127.0.0.1:1"}))
    vars(process)["doorbell"] = RecordingDoorbell()
    eventually(process.presence.is_known)
    yield workbench_of(process, lambda: False, ToolMeter())
    process.presence.stop()


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


def ask(gateway: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
    body = {"session_id": an_id("s-"), "tool_name": "echo", "args": {"text": "hi"}, **fields}
    return gateway.call("POST", "/v1/tool/request", json=body, headers=headers or {})


def events(gateway: Gateway, session_id: str) -> list[dict[str, Any]]:
    found = gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
    return [event["payload"] for event in found]


def rows(engine: Engine, statement: str, **values: Any) -> Sequence[Any]:
    with engine.begin() as connection:
        return connection.execute(text(statement), values).all()


def test_the_tools_are_listed_with_their_schema(gateway: Gateway) -> None:
    found = gateway.get("/v1/tools").json()

    assert found["count"] == len(found["tools"]) == 4
    effects = {tool["name"]: tool["effect"] for tool in found["tools"]}
    assert effects == {"echo": "read", "recall": "read", "remember": "idempotent", "timestamp": "read"}
    echo = found["tools"][0]
    assert (echo["name"], echo["effect"], echo["enabled"]) == ("echo", "read", True)
    assert echo["parameters"]["required"] == ["text"]
    assert echo["parameters"]["additionalProperties"] is False


def test_a_request_becomes_a_result_an_event_and_a_memory(gateway: Gateway, engine: Engine, worker: Workbench) -> None:
    session_id = an_id("s-")

    answer = ask(gateway, session_id=session_id, metadata={"universe_id": "u-7"})

    assert answer.status_code == 200
    call_id = answer.json()["event_id"]
    assert answer.json() == {"status": "enqueued", "event_id": call_id}
    assert run_tool(call_id, worker) == "succeeded"
    told = events(gateway, session_id)
    assert [(e["type"], e["metadata"]["status"]) for e in told] == [
        ("tool.start", "queued"), ("tool.start", "running"), ("tool.result", "success"),
    ]  # fmt: skip
    last = told[-1]
    assert (last["role"], last["tool_name"], last["payload"], last["args"]) == (
        "tool", "echo", {"text": "hi"}, {"text": "hi"},
    )  # fmt: skip
    assert json.loads(last["message"]) == {"text": "hi"}
    ((payload, universe, state),) = rows(
        engine, "SELECT payload, universe, state FROM memory_write_outbox WHERE session_id = :id", id=session_id
    )
    assert (payload["type"], payload["tool_name"], universe, state) == ("tool_result", "echo", "u-7", "pending")


def test_what_is_remembered_by_a_call_can_be_recalled_by_another(gateway: Gateway, worker: Workbench) -> None:
    word, place = f"teapot{an_id()[:8]}", {"universe_id": "u-8", "tenant": "t-8"}
    kept = ask(gateway, tool_name="remember", args={"content": f"Ann keeps a {word}."}, metadata=place)
    assert run_tool(kept.json()["event_id"], worker) == "succeeded"
    session_id = an_id("s-")

    found = ask(gateway, session_id=session_id, tool_name="recall", args={"query": word}, metadata=place)
    assert run_tool(found.json()["event_id"], worker) == "succeeded"

    result = events(gateway, session_id)[-1]["payload"]
    assert result["degraded"]
    assert f"Ann keeps a {word}." in [memory["content"] for memory in result["memories"]]
    elsewhere = an_id("s-")
    other = ask(gateway, session_id=elsewhere, tool_name="recall", args={"query": word}, metadata={"tenant": "t-9"})
    assert run_tool(other.json()["event_id"], worker) == "succeeded"
    assert events(gateway, elsewhere)[-1]["payload"]["memories"] == []


def test_the_same_key_gives_the_same_call(gateway: Gateway, engine: Engine) -> None:
    key, session_id = {"Idempotency-Key": an_id()}, an_id("s-")
    with ThreadPoolExecutor(10) as crowd:
        answers = list(crowd.map(lambda _: ask(gateway, key, session_id=session_id), range(20)))

    assert {answer.status_code for answer in answers} <= {200, 409, 503}
    assert len({answer.json()["event_id"] for answer in answers if answer.status_code == 200}) == 1
    assert rows(engine, "SELECT count(*) FROM tool_calls WHERE session_id = :id", id=session_id) == [(1,)]
    again = ask(gateway, key, session_id=session_id)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(ask(gateway, key, session_id=session_id, args={"text": "other"}), 422, "another body")


def test_an_unknown_tool_is_404_and_keeps_nothing(gateway: Gateway) -> None:
    session_id = an_id("s-")

    assert_problem(ask(gateway, session_id=session_id, tool_name="nothing"), 404, "GET /v1/tools")

    assert_problem(gateway.get(f"/v1/sessions/{session_id}/events"), 404)


@pytest.mark.parametrize("args", [{}, {"text": 7}, {"text": "hi", "loud": True}])
def test_arguments_that_break_the_schema_are_400_and_say_where(gateway: Gateway, args: dict[str, Any]) -> None:
    problem = assert_problem(ask(gateway, args=args), 400, "arguments of echo")

    assert problem["errors"][0]["loc"][:2] == ["body", "args"]


@pytest.mark.parametrize(
    "fields", [{"session_id": "not ok"}, {"args": []}, {"surprise": 1}, {"metadata": {"tenant": ""}}]
)
def test_a_request_of_the_wrong_form_is_422(gateway: Gateway, fields: dict[str, Any]) -> None:
    assert_problem(ask(gateway, **fields), 422)


def test_a_session_of_another_tenant_is_404(gateway: Gateway) -> None:
    session_id = gateway.say(metadata={"tenant": "ours"})["session_id"]

    assert_problem(ask(gateway, session_id=session_id, metadata={"tenant": "theirs"}), 404)


def test_a_lost_ring_costs_a_sweep(gateway: Gateway, engine: Engine, worker: Workbench, store: PostgresRig) -> None:
    call_id = ask(gateway).json()["event_id"]
    bell = RecordingDoorbell()

    process = store.process()
    sweep(SqlUpkeep(engine), {TaskName.EXECUTE_TOOL: process.calls}, bell)

    assert (TaskName.EXECUTE_TOOL, (call_id,)) in [(ring.task, ring.ids) for ring in bell.rings]


def test_a_dead_call_is_seen_at_the_desk_and_can_live_again(
    gateway: Gateway, engine: Engine, worker: Workbench, store: PostgresRig
) -> None:
    session_id = an_id("s-")
    call_id = ask(gateway, session_id=session_id).json()["event_id"]
    assert {"tool_call"} <= {count["kind"] for count in gateway.get("/v1/admin/work").json()["counts"]}
    rows(engine, "UPDATE tool_calls SET attempts = :n WHERE call_id = :id RETURNING 1", n=MAX_ATTEMPTS, id=call_id)
    assert run_tool(call_id, worker) == "dead"
    query = {"kind": "tool_call", "state": "dead", "limit": 200}
    dead = gateway.get("/v1/admin/work", params=query).json()["items"]
    (item,) = [item for item in dead if item["id"] == call_id]
    assert "stopped its worker 5 times" in item["reason"]
    path = f"/v1/admin/work/{WorkName.TOOL_CALL}/{call_id}"

    assert gateway.call("POST", f"{path}/retry").json()["state"] == "owed"

    assert run_tool(call_id, worker) == "succeeded"
    assert [event["metadata"]["status"] for event in events(gateway, session_id)][-1] == "success"
    assert_problem(gateway.call("POST", f"{path}/discard"), 409)


def test_health_and_the_description_know_tool_calls(gateway: Gateway) -> None:
    assert gateway.get("/v1/health").json()["components"]["tool_calls"]["backlog"] >= 0
    paths = gateway.get("/openapi.json").json()["paths"]
    assert {"/v1/tools", "/v1/tool/request"} <= set(paths)


def test_a_gateway_with_a_module_that_is_no_tool_does_not_start(servers: Stack, capfd: Any) -> None:
    broken = Gateway(servers.environment, TOOL_MODULES="app.domain.leases")
    with pytest.raises(AssertionError, match="the gateway ended"):
        broken.start()

    assert "TOOL_MODULES is wrong: app.domain.leases is no tool" in capfd.readouterr().err
    eventually(lambda: broken.process.poll() is not None)

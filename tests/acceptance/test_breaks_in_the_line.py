"""The line breaks in a chosen place, on the real stack: what was done is not done again, and nothing is forgotten."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from app.crash_points import CrashStep
from app.wiring.crashing import CRASH_STATUS
from devstack.stack import Stack
from drills import observe
from drills.model_peer import ModelPeer
from tests.acceptance.following import call
from tests.conftest import eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

PARTS = {
    "postgres", "redis", "kafka", "migrations", "brain", "gateway", "beat",
    "worker-conversation", "worker-delivery", "worker-replicator",
}  # fmt: skip
WHO_ENDS = {
    CrashStep.ACCEPT_COMMIT: "gateway",
    CrashStep.REMEMBER: "worker-delivery",
    CrashStep.MARK_SYNCED: "worker-delivery",
    CrashStep.PUBLISH: "worker-delivery",
    CrashStep.MARK_SENT: "worker-delivery",
    CrashStep.REPLICA_COMMIT: "worker-replicator",
    CrashStep.KAFKA_COMMIT: "worker-replicator",
}
MESSAGES = 3


@dataclass(frozen=True)
class Drill:
    """The running stack and the file that says where a process ends."""

    stack: Stack
    wish: Path

    @property
    def gateway(self) -> str:
        return self.stack.url("gateway")

    def send(self, tenant: str, number: int) -> str:
        """Send as a careful program does: with a key, until there is an answer. The event's id."""
        found: str = eventually(lambda: self._attempt(tenant, number), 30)
        return found

    def is_refused(self) -> bool:
        """Whether the gateway says, within two seconds and a bit, that it cannot keep a message now."""
        began = time.monotonic()
        answer = requests.post(f"{self.gateway}/v1/session/message", json={"message": "hello"}, timeout=10)
        assert time.monotonic() - began < 3
        return answer.status_code == 503 and "Retry-After" in answer.headers

    def _attempt(self, tenant: str, number: int) -> str | None:
        body = {"message": f"m{number:06}", "session_id": f"s-{tenant}", "metadata": {"tenant": tenant}}
        key = {"Idempotency-Key": f"{tenant}-{number}"}
        try:
            answer = requests.post(f"{self.gateway}/v1/session/message", json=body, headers=key, timeout=10)
        except requests.RequestException:
            return None
        return str(answer.json()["event_id"]) if answer.status_code == 200 else None

    def was_felt(self, who: str) -> bool:
        """Whether somebody has ended, as the log of the launcher or of the server tells."""
        log = self.stack.log(who).read_text(encoding="utf-8", errors="replace")
        return "crash point" in log and (who == "gateway" or f"exit status {CRASH_STATUS}" in log)

    def events(self, tenant: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = call(self.gateway, f"/v1/sessions/s-{tenant}/events?limit=500")["events"]
        return found

    def answers(self, tenant: str) -> list[str]:
        return [event["payload"]["event_id"] for event in self.events(tenant) if _is_final(event)]


def _is_final(event: dict[str, Any]) -> bool:
    return bool(event["payload"]["type"] == "assistant.final")


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """One stack for all steps; its model is scripted, because the steps are not about what it says."""
    wish = tmp_path_factory.mktemp("wish") / "crash-point"
    with ModelPeer() as model:
        overrides = {"LLM_BASE_URL": model.url, "CRASH_POINT": f"@{wish}"}
        with Stack(tmp_path_factory.mktemp("crashing"), None, only=PARTS, overrides=overrides) as stack:
            yield Drill(stack, wish)


@pytest.mark.parametrize("step", CrashStep)
def test_a_process_that_ends_after_a_step_loses_and_doubles_nothing(
    drill: Drill, step: CrashStep, record_property: Callable[[str, object], None]
) -> None:
    tenant = f"crash-{step.replace('_', '-')}"
    before = drill.stack.status()[WHO_ENDS[step]].restarts
    drill.wish.write_text(step)

    sent = [drill.send(tenant, number) for number in range(MESSAGES)]
    eventually(lambda: drill.wish.read_text() == "", 30)
    ended_at = time.monotonic()
    sent += [drill.send(tenant, MESSAGES + number) for number in range(MESSAGES)]

    assert_whole_and_once(drill, tenant, sent)
    record_property("whole_again_after_seconds", round(time.monotonic() - ended_at, 1))
    assert drill.was_felt(WHO_ENDS[step])
    if WHO_ENDS[step] != "gateway":
        assert drill.stack.status()[WHO_ENDS[step]].restarts == before + 1


def test_everybody_takes_up_again_by_himself_when_postgres_froze(
    drill: Drill, record_property: Callable[[str, object], None]
) -> None:
    tenant = "frozen"
    before = {name: status.restarts for name, status in drill.stack.status().items()}
    sent = [drill.send(tenant, number) for number in range(MESSAGES)]

    drill.stack.freeze("postgres")
    # Longer than anybody's patience: every worker has given a connection up by then.
    refused = [drill.is_refused() for _ in range(8)]
    drill.stack.thaw("postgres")
    thawed_at = time.monotonic()
    sent += [drill.send(tenant, MESSAGES + number) for number in range(MESSAGES)]

    assert_whole_and_once(drill, tenant, sent)
    record_property("whole_again_after_seconds", round(time.monotonic() - thawed_at, 1))
    assert all(refused)
    assert {name: status.restarts for name, status in drill.stack.status().items()} == before


def assert_whole_and_once(drill: Drill, tenant: str, sent: list[str]) -> None:
    """Every message is answered once and in order, and it and its answer are once in every store."""
    memories = {*sent, *(f"{event_id}:answer" for event_id in sent)}
    eventually(lambda: len(drill.answers(tenant)) == len(sent), 60)
    eventually(lambda: len(observe.replica_memories(drill.gateway, tenant)) >= len(memories), 60)
    assert len(set(sent)) == len(sent)
    assert drill.answers(tenant) == [f"{event_id}:answer" for event_id in sent]
    assert [event["id"] for event in drill.events(tenant)] == list(range(1, len(drill.events(tenant)) + 1))
    kept = observe.brain_memories(drill.stack.url("brain"), tenant, "wm", "")
    assert sorted((one.event_id, one.writes) for one in kept) == sorted((one, 1) for one in memories)
    kafka = drill.stack.environment["KAFKA_BOOTSTRAP_SERVERS"]
    assert {one.event_id for one in observe.wal_records(kafka, "memory.wal", tenant)} == memories
    assert sorted(one.event_id for one in observe.replica_memories(drill.gateway, tenant)) == sorted(memories)

"""On the whole running system: a schedule gives an answer in its session, a webhook hears of a final answer, signed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from devstack.stack import Stack
from tests.acceptance.following import Follower, call
from tests.conftest import eventually
from tests.scripted_api import Reply, ScriptedApi

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"LLM_MAX_OUTPUT_TOKENS": "32", "WEBHOOK_ALLOW_PRIVATE": "true"}
    with Stack(tmp_path_factory.mktemp("telling"), None, overrides=settings) as running:
        yield running.url("gateway")


def test_a_schedule_that_is_due_in_two_seconds_gives_an_answer_in_its_session(gateway: str) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=2)
    asked = {"message": "Say good morning.", "at": due_at.isoformat(), "metadata": {"tenant": "t-schedule"}}
    schedule = call(gateway, "/v1/schedules", asked)

    (run,) = eventually(lambda: call(gateway, f"/v1/schedules/{schedule['id']}/runs")["items"])
    follower = Follower(gateway, schedule["session_id"])
    follower.start()
    eventually(lambda: follower.done, 120)

    assert run["outcome"] == "ran"
    assert [ending["type"] for ending in follower.endings] == ["assistant.final"]
    assert follower.memories[run["event_id"]] == "replicated"
    assert datetime.fromisoformat(run["created_at"]) - datetime.fromisoformat(run["due_at"]) < timedelta(seconds=30)
    assert call(gateway, f"/v1/schedules/{schedule['id']}")["next_run_at"] is None


def test_a_webhook_hears_of_a_final_answer_signed(gateway: str) -> None:
    receiver = ScriptedApi()
    receiver.on("POST", "/hook", Reply(status=500), Reply(status=204))
    with receiver.running() as base:
        hook = call(gateway, "/v1/webhooks", {"url": f"{base}/hook", "tenant": "t-webhook"})
        message = {"message": "hello", "metadata": {"tenant": "t-webhook"}}
        accepted = call(gateway, "/v1/session/message", message)
        eventually(lambda: len(receiver.asked) == 2, 120)
        path = f"/v1/webhooks/{hook['id']}/deliveries"
        (delivery,) = eventually(lambda: call(gateway, f"{path}?state=delivered")["items"])

    first, second = receiver.asked
    told = Webhook(hook["secret"]).verify(second.body, second.headers)
    assert (told["type"], told["data"]["session_id"]) == ("assistant.final", accepted["session_id"])
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery["id"]
    events = call(gateway, f"/v1/sessions/{accepted['session_id']}/events")["events"]
    assert told["data"] == events[-1]["payload"]

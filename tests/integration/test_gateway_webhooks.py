"""Webhooks over HTTP: made, changed and removed; what they are owed arrives signed, and again until it is taken."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text
from standardwebhooks import Webhook, WebhookVerificationError

from app.adapters.http.receiver import HttpReceiver
from app.adapters.key_vault import KeyVault
from app.adapters.sql.presence import Presence
from app.adapters.sql.turns import SqlTurns
from app.adapters.sql.upkeep import SqlUpkeep
from app.adapters.sql.webhook_outbox import SqlWebhookOutbox
from app.domain.leases import MAX_ATTEMPTS
from app.domain.webhooks import new_secret
from app.services.deliver_webhooks import WebhookPlane, deliver_webhooks
from app.settings import Settings
from app.wiring.process import SystemClock
from app.wiring.vault import vault_of
from devstack.stack import Stack
from tests.builders import an_id
from tests.fakes import RecordingDoorbell
from tests.fakes_webhooks import InlineCrew
from tests.integration.gateway_process import Answerer, Gateway, assert_problem
from tests.scripted_api import Asked, Reply, ScriptedApi

HOOK = "/hook"
WEEK = 7 * 86_400


class Webhooks:
    """A client of the routes, the worker behind them, and a receiver."""

    def __init__(self, gateway: Gateway, engine: Engine, receiver: ScriptedApi, base: str, vault: KeyVault) -> None:
        self.gateway, self.engine, self.receiver, self.base, self.vault = gateway, engine, receiver, base, vault
        self.tenant = an_id("t-")
        self.counted: list[str] = []

    def worker(self, allow_private: bool = True, seconds: float = 5.0) -> WebhookPlane:
        clock = SystemClock()
        outbox = SqlWebhookOutbox(self.engine, Presence(self.engine, "test", 30), 30, WEEK, self.vault)
        http = HttpReceiver(clock, seconds, allow_private)
        return WebhookPlane(outbox, http, InlineCrew(), RecordingDoorbell(), clock, self.counted.append)

    def deliver(self, **how: Any) -> int:
        return deliver_webhooks(self.worker(**how))

    def post(self, key: str = "", **fields: Any) -> requests.Response:
        body = {"url": self.base + HOOK, "tenant": self.tenant, **fields}
        return self.gateway.call("POST", "/v1/webhooks", json=body, headers={"Idempotency-Key": key} if key else {})

    def made(self, **fields: Any) -> dict[str, Any]:
        """A webhook that is there already, as if private addresses were allowed when it was made."""
        answer = self.post(**{"url": "https://example.org/hook", **fields})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        self.sql("UPDATE webhooks SET url = :url WHERE webhook_id = :id", url=self.base + HOOK, id=found["id"])
        return found

    def sql(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def patch(self, webhook_id: str, **fields: Any) -> requests.Response:
        return self.gateway.call("PATCH", f"/v1/webhooks/{webhook_id}", json=fields)

    def deliveries(self, webhook_id: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.gateway.get(f"/v1/webhooks/{webhook_id}/deliveries", params=query).json()[
            "items"
        ]
        return found

    def replay(self, delivery_id: str) -> requests.Response:
        return self.gateway.call("POST", f"/v1/webhooks/deliveries/{delivery_id}/replay")

    def say(self) -> dict[str, Any]:
        return self.gateway.say(metadata={"tenant": self.tenant})

    def pass_time(self, seconds: float) -> None:
        self.sql(
            """UPDATE webhook_deliveries SET run_at = run_at - make_interval(secs => :seconds),
               lease_until = lease_until - make_interval(secs => :seconds) WHERE state = 'pending'""",
            seconds=seconds,
        )


@pytest.fixture
def webhooks(gateway: Gateway, engine: Engine, settings: Settings) -> Iterator[Webhooks]:
    receiver = ScriptedApi()
    with receiver.running() as base:
        client = Webhooks(gateway, engine, receiver, base, vault_of(settings))
        yield client
    client.sql("DELETE FROM webhook_deliveries; DELETE FROM webhooks")


def verified(asked: Asked, secret: str) -> Any:
    """What the official package reads out of it."""
    return Webhook(secret).verify(asked.body, asked.headers)


def test_a_final_answer_arrives_signed_once(webhooks: Webhooks, answerer: Answerer) -> None:
    hook = webhooks.made()
    webhooks.receiver.on("POST", HOOK, Reply())
    receipt = webhooks.say()
    answerer.answer(receipt["event_id"])

    webhooks.deliver()
    webhooks.deliver()

    (asked,) = webhooks.receiver.asked
    told = verified(asked, hook["secret"])
    assert (told["type"], told["data"]["message"]) == ("assistant.final", "Once upon a time.")
    assert told["data"]["session_id"] == receipt["session_id"]
    (delivery,) = webhooks.deliveries(hook["id"])
    assert (delivery["state"], delivery["attempts"], delivery["id"]) == ("delivered", 1, asked.headers["webhook-id"])
    assert webhooks.counted == ["ok"]
    with pytest.raises(WebhookVerificationError):
        verified(asked, new_secret(b"another secret altogether"))


def test_a_tenant_is_told_of_its_own_and_of_what_it_asked_for(webhooks: Webhooks, answerer: Answerer) -> None:
    finals, ends = webhooks.made(), webhooks.made(events=["assistant.cancelled", "assistant.error"])
    off, others = webhooks.made(enabled=False), webhooks.made(tenant=an_id("t-"))
    answered, stopped = webhooks.say(), webhooks.say()

    answerer.answer(answered["event_id"])
    webhooks.gateway.call("POST", f"/v1/session/{stopped['session_id']}/cancel", json={})

    (final,), (end,) = webhooks.deliveries(finals["id"]), webhooks.deliveries(ends["id"])
    assert (final["type"], final["session_id"]) == ("assistant.final", answered["session_id"])
    assert (end["type"], end["session_id"]) == ("assistant.cancelled", stopped["session_id"])
    assert webhooks.deliveries(off["id"]) == webhooks.deliveries(others["id"]) == []


def test_dead_work_is_told_by_whichever_way_it_died(webhooks: Webhooks, engine: Engine) -> None:
    hook = webhooks.made()
    webhooks.receiver.on("POST", HOOK, Reply())
    receipt = webhooks.say()
    for _ in range(MAX_ATTEMPTS + 1):
        SqlTurns(engine, Presence(engine, an_id("p-"), 30), 30).claim(receipt["event_id"])
        webhooks.sql("UPDATE turns SET lease_until = now() WHERE event_id = :id", id=receipt["event_id"])

    webhooks.deliver()

    told = [verified(asked, hook["secret"]) for asked in webhooks.receiver.asked]
    (dead,) = [each for each in told if each["type"] == "work.dead"]
    assert (dead["data"]["kind"], dead["data"]["id"]) == ("turn", receipt["event_id"])
    assert (dead["data"]["session_id"], dead["data"]["tenant"]) == (receipt["session_id"], webhooks.tenant)
    assert "stopped its worker" in dead["data"]["reason"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Reply(status=500), "it answered 500"),
        (Reply(status=404), "it answered 404"),
        (Reply(status=302, headers={"Location": "/elsewhere"}), "it answered 302"),
        (Reply(breaks=True), "it cannot be reached"),
    ],
)
def test_what_is_not_taken_comes_again_under_the_same_id(webhooks: Webhooks, answer: Reply, reason: str) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, answer, Reply(status=204))
    cancel(webhooks)

    webhooks.deliver()
    (waiting,) = webhooks.deliveries(hook["id"], state="pending")
    webhooks.deliver()
    assert len(webhooks.receiver.asked) == 1, "it waits for its pause"
    webhooks.pass_time(6)
    webhooks.deliver()

    first, second = webhooks.receiver.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert verified(second, hook["secret"])["type"] == "assistant.cancelled"
    assert (waiting["reason"], waiting["failures"]) == (reason, 1)
    assert [each["state"] for each in webhooks.deliveries(hook["id"])] == ["delivered"]


def test_a_receiver_that_is_away_is_asked_once_per_pause_however_much_it_is_owed(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, *[Reply(status=503)] * 3, Reply())
    for _ in range(4):
        cancel(webhooks)

    for pause in (6, 11, 21):
        webhooks.deliver()
        webhooks.deliver()
        webhooks.pass_time(pause)
    ids = [asked.headers["webhook-id"] for asked in webhooks.receiver.asked]
    webhooks.deliver()

    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert [each["state"] for each in webhooks.deliveries(hook["id"])] == ["delivered"] * 4


def test_one_receiver_that_is_away_holds_up_no_other(webhooks: Webhooks) -> None:
    away, well = webhooks.made(events=["assistant.cancelled"]), webhooks.made(events=["assistant.cancelled"])
    webhooks.sql("UPDATE webhooks SET url = 'http://127.0.0.1:1/' WHERE webhook_id = :id", id=away["id"])
    webhooks.receiver.on("POST", HOOK, Reply())
    cancel(webhooks)

    webhooks.deliver()

    assert webhooks.deliveries(well["id"])[0]["state"] == "delivered"
    (waiting,) = webhooks.deliveries(away["id"])
    assert (waiting["state"], waiting["reason"]) == ("pending", "it cannot be reached")


def test_a_slow_receiver_is_given_up_in_time_and_a_long_answer_is_not_read(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, slow, Reply(parts=(b"x" * 100_000,) * 50))
    cancel(webhooks)

    webhooks.deliver(seconds=0.3)
    assert webhooks.deliveries(hook["id"])[0]["reason"] == "it did not answer in time"
    webhooks.pass_time(6)
    webhooks.deliver()

    assert webhooks.deliveries(hook["id"])[0]["state"] == "delivered"


def slow(_: Asked) -> Reply:
    SystemClock().sleep(1)
    return Reply()


def test_a_wish_to_wait_is_respected(webhooks: Webhooks) -> None:
    webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply(status=429, headers={"Retry-After": "600"}), Reply())
    cancel(webhooks)
    webhooks.deliver()

    webhooks.pass_time(590)
    webhooks.deliver()
    assert len(webhooks.receiver.asked) == 1
    webhooks.pass_time(11)
    webhooks.deliver()

    assert len(webhooks.receiver.asked) == 2


def test_a_receiver_that_is_gone_switches_its_webhook_off(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply(status=410), Reply())
    cancel(webhooks)
    cancel(webhooks)

    webhooks.deliver()
    webhooks.deliver()

    found = webhooks.gateway.get(f"/v1/webhooks/{hook['id']}").json()
    assert (found["enabled"], found["reason"], len(webhooks.receiver.asked)) == (False, "it answered 410", 1)
    assert sorted(each["state"] for each in webhooks.deliveries(hook["id"])) == ["dead", "pending"]
    assert webhooks.patch(hook["id"], enabled=True).json()["reason"] is None
    webhooks.deliver()
    assert sorted(each["state"] for each in webhooks.deliveries(hook["id"])) == ["dead", "delivered"]


def test_what_is_wrong_dies_alone_stands_at_the_desk_and_can_be_replayed(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply(status=422), Reply())
    cancel(webhooks)
    cancel(webhooks)
    webhooks.deliver()

    (dead,) = webhooks.deliveries(hook["id"], state="dead")
    assert [each["state"] for each in webhooks.deliveries(hook["id"])].count("delivered") == 1
    desk = webhooks.gateway.get("/v1/admin/work?kind=webhook&state=dead").json()
    assert (desk["items"][0]["id"], desk["items"][0]["reason"]) == (dead["id"], "it answered 422")
    assert webhooks.replay(dead["id"]).json()["state"] == "pending"
    webhooks.deliver()

    assert [each["state"] for each in webhooks.deliveries(hook["id"])] == ["delivered"] * 2
    assert webhooks.receiver.asked[-1].headers["webhook-id"] == dead["id"]


def test_what_was_delivered_can_be_sent_again_under_its_id(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply())
    cancel(webhooks)
    webhooks.deliver()
    (delivery,) = webhooks.deliveries(hook["id"])

    webhooks.replay(delivery["id"])
    webhooks.deliver()

    assert [asked.headers["webhook-id"] for asked in webhooks.receiver.asked] == [delivery["id"]] * 2
    assert_problem(webhooks.replay("nobody"), 404)
    webhooks.gateway.call("DELETE", f"/v1/webhooks/{hook['id']}")
    assert_problem(webhooks.replay(delivery["id"]), 404, "webhook is gone")


def test_what_nobody_took_for_a_week_is_dead_after_its_last_try(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply(status=500))
    cancel(webhooks)
    webhooks.sql("UPDATE webhook_deliveries SET created_at = created_at - interval '8 days'")

    webhooks.deliver()

    (dead,) = webhooks.deliveries(hook["id"])
    assert (dead["state"], dead["reason"]) == ("dead", "it answered 500, for as long as deliveries are kept")


def test_a_worker_that_dies_between_its_claim_and_its_mark_costs_a_second_sending_with_the_same_id(
    webhooks: Webhooks,
) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply())
    cancel(webhooks)
    killed = webhooks.worker()
    (batch,) = killed.outbox.claim_batches(8, 20)
    killed.receiver.send(batch.endpoint.url, {"webhook-id": batch.deliveries[0].lease.key}, b"{}")
    assert webhooks.deliver() == 0, "it is in the dead worker's hands"

    webhooks.pass_time(31)
    assert webhooks.deliver() == 1

    assert len({asked.headers["webhook-id"] for asked in webhooks.receiver.asked}) == 1
    (delivery,) = webhooks.deliveries(hook["id"])
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)


def test_nothing_is_sent_to_an_inner_address(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    cancel(webhooks)

    webhooks.deliver(allow_private=False)

    assert webhooks.receiver.asked == []
    assert "not a public one" in webhooks.deliveries(hook["id"])[0]["reason"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"url": "ftp://example.org"}, "https://example.org/hook"),
        ({"url": "https://"}, "https://example.org/hook"),
        ({"url": "https://user:pw@example.org/"}, "leave out user"),
        ({"url": "https://example.org/#x"}, "fragment"),
        ({"url": "https://example.org:99999/"}, "https://example.org/hook"),
        ({"url": "https://exämple.org/"}, "ASCII"),
        ({"url": "https://example.org/a b"}, "spaces"),
        ({"url": f"https://{'a' * 64}.org/"}, "no host"),
        ({"url": "http://127.0.0.1:9/"}, "WEBHOOK_ALLOW_PRIVATE=false forbids"),
        ({"url": "http://10.0.0.8/"}, "WEBHOOK_ALLOW_PRIVATE=false forbids"),
        ({"url": "http://[::1]/"}, "WEBHOOK_ALLOW_PRIVATE=false forbids"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, "never called"),
        ({"url": "http://localhost/"}, "WEBHOOK_ALLOW_PRIVATE=false forbids"),
        ({"url": "http://2130706433/"}, "WEBHOOK_ALLOW_PRIVATE=false forbids"),
        ({"url": "https://example.org/", "events": []}, "events"),
        ({"url": "https://example.org/", "events": ["user"]}, "events"),
        ({"url": "https://example.org/", "secret": "mine"}, "there is no such field"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_with_a_sentence(
    webhooks: Webhooks, fields: dict[str, Any], word: str
) -> None:
    problem = webhooks.post(**fields)

    assert problem.status_code == 422, problem.text
    assert word in problem.json()["detail"] + str(problem.json().get("errors"))


def test_the_secret_is_shown_once_and_a_new_one_leaves_the_old_one_valid_for_a_day(webhooks: Webhooks) -> None:
    key = an_id()
    first = webhooks.post(key, url="https://example.org/hook", events=["assistant.cancelled"])
    again = webhooks.post(key, url="https://example.org/hook", events=["assistant.cancelled"])
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    hook = first.json()
    assert hook["secret"].startswith("whsec_")
    assert webhooks.gateway.get(f"/v1/webhooks/{hook['id']}").json()["secret"] is None
    listed = webhooks.gateway.get("/v1/webhooks", params={"tenant": webhooks.tenant}).json()["items"]
    assert [each["secret"] for each in listed] == [None]

    new = webhooks.patch(hook["id"], rotate_secret=True).json()["secret"]
    webhooks.sql("UPDATE webhooks SET url = :url WHERE webhook_id = :id", url=webhooks.base + HOOK, id=hook["id"])
    webhooks.receiver.on("POST", HOOK, Reply())
    cancel(webhooks)
    webhooks.deliver()
    webhooks.sql("UPDATE webhooks SET old_until = now()")
    cancel(webhooks)
    webhooks.deliver()

    both, later = webhooks.receiver.asked
    assert new != hook["secret"]
    assert verified(both, new) == verified(both, hook["secret"])
    assert verified(later, new)
    with pytest.raises(WebhookVerificationError):
        verified(later, hook["secret"])


def test_under_another_key_nothing_is_sent_unsigned_and_a_new_secret_mends_it(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    webhooks.receiver.on("POST", HOOK, Reply())
    cancel(webhooks)
    own, webhooks.vault = webhooks.vault, KeyVault("another secret")

    webhooks.deliver()
    (waiting,) = webhooks.deliveries(hook["id"])
    assert (waiting["state"], webhooks.receiver.asked) == ("pending", [])
    assert "rotate_secret" in waiting["reason"]

    webhooks.sql("UPDATE webhooks SET secret = :lost", lost="sealed:" + base64.b64encode(b"x" * 60).decode())
    webhooks.vault = own
    new = webhooks.patch(hook["id"], rotate_secret=True).json()["secret"]
    webhooks.replay(waiting["id"])
    webhooks.deliver()

    (asked,) = webhooks.receiver.asked
    assert verified(asked, new)["type"] == "assistant.cancelled"


def test_without_a_key_to_seal_with_no_webhook_is_kept(servers: Stack) -> None:
    running = Gateway(servers.environment, GATEWAY_ENC_KEY="").start()
    try:
        refused = running.call("POST", "/v1/webhooks", json={"url": "https://example.org/hook"})
        assert_problem(refused, 422, "GATEWAY_ENC_KEY is not set")
        assert running.get("/v1/webhooks").status_code == 200
    finally:
        running.stop()


def test_a_deleted_webhook_is_gone_and_what_it_was_owed_is_discarded(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    cancel(webhooks)
    (owed,) = webhooks.deliveries(hook["id"])

    assert webhooks.gateway.call("DELETE", f"/v1/webhooks/{hook['id']}").json() == {"deleted": True}

    assert webhooks.deliver() == 0
    assert_problem(webhooks.gateway.get(f"/v1/webhooks/{hook['id']}"), 404)
    assert_problem(webhooks.gateway.get(f"/v1/webhooks/{hook['id']}/deliveries"), 404)
    assert_problem(webhooks.patch(hook["id"], enabled=False), 404)
    assert_problem(webhooks.gateway.call("DELETE", f"/v1/webhooks/{hook['id']}"), 404)
    SqlUpkeep(webhooks.engine).prune()
    with webhooks.engine.connect() as connection:
        sql = "SELECT state, last_error FROM webhook_deliveries WHERE delivery_id = :id"
        found = connection.execute(text(sql), {"id": owed["id"]}).one()
    assert tuple(found) == ("discarded", "its webhook is gone")


def test_pages_show_every_delivery_once(webhooks: Webhooks) -> None:
    hook = webhooks.made(events=["assistant.cancelled"])
    for _ in range(5):
        cancel(webhooks)
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        path = f"/v1/webhooks/{hook['id']}/deliveries"
        page = webhooks.gateway.get(path, params={"limit": 2, "after": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert len(seen) == len(set(seen)) == 5
    assert_problem(webhooks.gateway.get(f"/v1/webhooks/{hook['id']}/deliveries?after=x"), 422, "cursor")


def cancel(webhooks: Webhooks) -> None:
    """A turn that ends at once."""
    receipt = webhooks.say()
    webhooks.gateway.call("POST", f"/v1/session/{receipt['session_id']}/cancel", json={})

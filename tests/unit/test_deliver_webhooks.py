"""A round of webhooks: each receiver apart, until it fails; what its answers mean for what it is owed."""

from dataclasses import dataclass, field

import pytest
from standardwebhooks import Webhook

from app.domain.errors import ReceiverUnavailable, StoreUnavailable
from app.domain.webhooks import Endpoint, Reply, new_secret
from app.routing import TaskName
from app.services.deliver_webhooks import WebhookPlane, deliver_webhooks
from tests.builders import an_id
from tests.fakes import InMemoryStore, RecordingDoorbell
from tests.fakes_parts import FakeClock
from tests.fakes_webhooks import FakeDelivery, FakeWebhook, InlineCrew, InMemoryWebhooks, ScriptedReceiver
from tests.fakes_work import Row

SECRET = new_secret(b"s" * 32)


@dataclass
class Stage:
    """Webhooks, a receiver, and the worker between them."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    receiver: ScriptedReceiver = field(default_factory=ScriptedReceiver)
    crew: InlineCrew = field(default_factory=InlineCrew)
    doorbell: RecordingDoorbell = field(default_factory=RecordingDoorbell)
    webhooks: dict[str, FakeWebhook] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)
    stopping: bool = False

    def webhook(self, url: str = "https://example.org/hook") -> str:
        key = an_id()
        self.webhooks[key] = FakeWebhook(Endpoint(key, url, (SECRET,)))
        return key

    def owe(self, webhook_id: str) -> Row[FakeDelivery]:
        key = an_id("msg_")
        self.store.webhook_rows.add(key, FakeDelivery(webhook_id, {"type": "work.dead"}))
        return self.store.webhook_rows.rows[key]

    def deliver(self) -> int:
        outbox = InMemoryWebhooks(self.store, self.webhooks)
        return deliver_webhooks(
            WebhookPlane(
                outbox, self.receiver, self.crew, self.doorbell, self.store.clock, self.counted.append,
                lambda: self.stopping,
            )
        )  # fmt: skip


@pytest.fixture
def stage() -> Stage:
    # The official package refuses times that are not now.
    return Stage(InMemoryStore(FakeClock()))


def test_what_is_owed_is_sent_signed_and_settled(stage: Stage) -> None:
    row = stage.owe(stage.webhook())

    stage.deliver()

    ((url, headers, body),) = stage.receiver.sent
    assert url == "https://example.org/hook"
    assert (row.state, stage.counted, stage.receiver.ids) == ("delivered", ["ok"], [row.key])
    stamp = stage.store.clock.now()
    assert headers["webhook-signature"] == Webhook(SECRET).sign(row.key, stamp, body.decode())


def test_after_a_failure_the_rest_waits_and_the_pauses_grow(stage: Stage) -> None:
    hook = stage.webhook()
    first, second = stage.owe(hook), stage.owe(hook)
    stage.receiver.answers = [Reply(500), ReceiverUnavailable("it cannot be reached"), Reply(200)]
    pauses = []

    for _ in range(2):
        stage.deliver()
        pauses.append(first.run_at - stage.store.clock.monotonic())
        assert second.attempts == second.excused
        stage.deliver()
        stage.store.clock.advance(pauses[-1])
    stage.deliver()

    assert stage.receiver.ids == [first.key, first.key, first.key, second.key]
    assert pauses == pytest.approx([5.0, 10.0])
    assert stage.counted == ["retry", "retry", "ok", "ok"]
    assert first.state == second.state == "delivered"


@pytest.mark.parametrize(("wished", "pause"), [(600.0, 600.0), (1.0, 5.0), (None, 5.0)])
def test_a_wish_to_wait_longer_is_respected(stage: Stage, wished: float | None, pause: float) -> None:
    row = stage.owe(stage.webhook())
    stage.receiver.answers = [Reply(429, wished)]

    stage.deliver()

    assert row.run_at - stage.store.clock.monotonic() == pytest.approx(pause)


def test_what_is_wrong_dies_alone(stage: Stage) -> None:
    hook = stage.webhook()
    wrong, right = stage.owe(hook), stage.owe(hook)
    stage.receiver.answers = [Reply(400), Reply(200)]

    stage.deliver()

    assert (wrong.state, wrong.last_error, right.state) == ("dead", "it answered 400", "delivered")
    assert stage.counted == ["dead", "ok"]


def test_who_is_gone_is_told_nothing_more(stage: Stage) -> None:
    hook = stage.webhook()
    first, second = stage.owe(hook), stage.owe(hook)
    stage.receiver.answers = [Reply(410)]

    stage.deliver()
    stage.deliver()

    assert (first.state, second.state, len(stage.receiver.sent)) == ("dead", "pending", 1)
    assert stage.webhooks[hook].reason == "it answered 410"


def test_one_receiver_that_is_away_holds_up_no_other(stage: Stage) -> None:
    away, well = stage.owe(stage.webhook()), stage.owe(stage.webhook())
    stage.receiver.answers = [ReceiverUnavailable("it cannot be reached"), Reply(200)]

    assert stage.deliver() == 2

    assert sorted([away.state, well.state]) == ["delivered", "pending"]


def test_an_outage_kills_nothing_before_its_time_and_then_after_one_more_try(stage: Stage) -> None:
    row = stage.owe(stage.webhook())
    stage.receiver.answers = [Reply(503)]
    while stage.store.clock.monotonic() < 7 * 86_400:
        stage.deliver()
        assert row.state == "pending"
        stage.store.clock.advance(hours=1.3)

    stage.deliver()

    assert (row.state, row.last_error) == ("dead", "it answered 503, for as long as deliveries are kept")


def test_nothing_is_claimed_without_a_free_thread(stage: Stage) -> None:
    row = stage.owe(stage.webhook())
    stage.crew.free = 0

    assert stage.deliver() == 0
    assert row.attempts == 0


def test_a_process_that_ends_gives_back_what_it_has_not_sent(stage: Stage) -> None:
    row = stage.owe(stage.webhook())
    stage.stopping = True

    stage.deliver()

    assert (row.owner, row.attempts - row.excused, stage.receiver.sent) == (None, 0, [])


def test_a_full_batch_rings_for_the_next(stage: Stage) -> None:
    hook = stage.webhook()
    for _ in range(21):
        stage.owe(hook)

    stage.deliver()
    assert stage.doorbell.tasks == [TaskName.DELIVER_WEBHOOKS]
    stage.deliver()

    assert len(stage.doorbell.tasks) == 1
    assert len(set(stage.receiver.ids)) == 21


def test_a_store_that_goes_away_over_a_delivery_makes_no_death_of_it(stage: Stage) -> None:
    row = stage.owe(stage.webhook())

    def away(*_: object) -> Reply:
        stage.store.down = True
        return Reply(200)

    stage.receiver.send = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        stage.deliver()
    stage.store.down = False
    stage.store.survived(stage.store.webhook_rows, [])

    assert (row.state, row.attempts - row.excused) == ("pending", 0)

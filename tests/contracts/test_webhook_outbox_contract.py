"""What every `WebhookOutbox` promises: what a receiver is owed in a batch, what failed first, none lost or doubled."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Engine, Row, text

from app.adapters.key_vault import KeyVault
from app.adapters.sql.presence import Presence
from app.adapters.sql.webhook_outbox import SqlWebhookOutbox
from app.adapters.sql.webhooks import SqlWebhookDesk
from app.domain.leases import MAX_ATTEMPTS
from app.domain.webhook_ports import WebhookOutbox
from app.domain.webhooks import Batch, Endpoint, NewWebhook, WebhookChange, WebhookEvent
from tests.builders import an_id
from tests.contracts.store_rig import MemoryRig, PostgresRig, RowState, StoreRig
from tests.fakes_webhooks import FakeDelivery, FakeWebhook, InMemoryWebhooks

KEEP_SECONDS = 7 * 86_400
URL = "https://example.org/hook"
SECRET = "whsec_eA=="
VAULT = KeyVault("0123456789abcdef")


class WebhookRig(ABC):
    """Webhooks, what they are owed, and workers."""

    store: StoreRig

    @abstractmethod
    def webhook(self) -> str: ...

    @abstractmethod
    def owe(self, webhook_id: str) -> str: ...

    @abstractmethod
    def worker(self) -> WebhookOutbox: ...

    @abstractmethod
    def switch(self, webhook_id: str, on: bool) -> None: ...

    @abstractmethod
    def is_on(self, webhook_id: str) -> bool: ...

    @abstractmethod
    def grow_old(self, delivery_id: str) -> None: ...

    def row(self, delivery_id: str) -> RowState:
        return self.store.row("webhook", delivery_id)


class MemoryWebhookRig(WebhookRig):
    def __init__(self) -> None:
        self.store = self._memory = MemoryRig()
        self._webhooks: dict[str, FakeWebhook] = {}

    def webhook(self) -> str:
        key = an_id()
        self._webhooks[key] = FakeWebhook(Endpoint(key, URL, (SECRET,)))
        return key

    def owe(self, webhook_id: str) -> str:
        key = an_id("msg_")
        self._memory.store.webhook_rows.add(key, FakeDelivery(webhook_id, {"n": key}))
        return key

    def worker(self) -> WebhookOutbox:
        return InMemoryWebhooks(self._memory.store, self._webhooks, an_id("p-"))

    def switch(self, webhook_id: str, on: bool) -> None:
        self._webhooks[webhook_id].enabled = on

    def is_on(self, webhook_id: str) -> bool:
        return self._webhooks[webhook_id].enabled

    def grow_old(self, delivery_id: str) -> None:
        self._memory.store.webhook_rows.rows[delivery_id].created_at -= KEEP_SECONDS + 1


class SqlWebhookRig(WebhookRig):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.store = PostgresRig(engine)
        self._sql("DELETE FROM webhooks")

    def webhook(self) -> str:
        key = an_id()
        SqlWebhookDesk(self._engine, VAULT).accept(NewWebhook(key, key, URL, (WebhookEvent.DEAD,), SECRET), None)
        return key

    def owe(self, webhook_id: str) -> str:
        cause = an_id()
        self._sql("SELECT owe_webhooks(:id, NULL, 'work.dead', :cause, now(), '{}')", id=webhook_id, cause=cause)
        with self._engine.connect() as connection:
            sql = "SELECT delivery_id FROM webhook_deliveries WHERE cause = :cause"
            return str(connection.execute(text(sql), {"cause": cause}).scalar_one())

    def worker(self) -> WebhookOutbox:
        presence = Presence(self._engine, an_id("p-"), 30)
        return SqlWebhookOutbox(self._engine, presence, 30, KEEP_SECONDS, VAULT)

    def switch(self, webhook_id: str, on: bool) -> None:
        self._sql("UPDATE webhooks SET enabled = :on WHERE webhook_id = :id", on=on, id=webhook_id)

    def is_on(self, webhook_id: str) -> bool:
        with self._engine.connect() as connection:
            sql = "SELECT enabled FROM webhooks WHERE webhook_id = :id"
            return bool(connection.execute(text(sql), {"id": webhook_id}).scalar_one())

    def grow_old(self, delivery_id: str) -> None:
        self._sql(
            "UPDATE webhook_deliveries SET created_at = created_at - interval '8 days' WHERE delivery_id = :id",
            id=delivery_id,
        )

    def _sql(self, statement: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> Iterator[WebhookRig]:
    memory = request.param == "memory"
    made: WebhookRig = MemoryWebhookRig() if memory else SqlWebhookRig(request.getfixturevalue("engine"))
    yield made
    made.store.close()


def keys(batch: Batch) -> list[str]:
    return [owed.lease.key for owed in batch.deliveries]


def only(batches: list[Batch]) -> Batch:
    (batch,) = batches
    return batch


def test_a_batch_holds_what_one_receiver_is_owed_in_order(rig: WebhookRig) -> None:
    one, other = rig.webhook(), rig.webhook()
    owed = [rig.owe(one) for _ in range(3)]
    also = rig.owe(other)

    batches = {batch.endpoint.webhook_id: batch for batch in rig.worker().claim_batches(8, 2)}

    assert keys(batches[one]) == owed[:2]
    assert keys(batches[other]) == [also]
    assert batches[one].endpoint == Endpoint(one, URL, (SECRET,))
    assert rig.row(owed[0]).attempts == 1


def test_a_receiver_that_is_being_told_is_told_nothing_beside(rig: WebhookRig) -> None:
    hook = rig.webhook()
    rig.owe(hook)
    worker, other = rig.worker(), rig.worker()
    batch = only(worker.claim_batches(8, 20))
    later = rig.owe(hook)

    assert other.claim_batches(8, 20) == []
    worker.delivered(batch.deliveries[0])

    assert keys(only(other.claim_batches(8, 20))) == [later]
    assert rig.row(keys(batch)[0]).state == "delivered"


def test_no_more_receivers_are_told_than_there_is_room_for(rig: WebhookRig) -> None:
    for _ in range(3):
        rig.owe(rig.webhook())
    worker = rig.worker()

    assert [len(worker.claim_batches(2, 20)) for _ in range(3)] == [2, 1, 0]


def test_a_receiver_that_failed_waits_as_a_whole_and_is_asked_with_what_failed_first(rig: WebhookRig) -> None:
    hook = rig.webhook()
    owed = [rig.owe(hook) for _ in range(3)]
    worker = rig.worker()
    batch = only(worker.claim_batches(8, 20))
    worker.release(batch.deliveries[:2])
    worker.postpone(batch.deliveries[2:], 60, "it answered 500", outage=True)

    assert worker.claim_batches(8, 20) == []
    rig.store.pass_time(61)

    again = only(worker.claim_batches(8, 20))
    assert keys(again) == [owed[2], owed[0], owed[1]]
    assert again.deliveries[0].lease.failures == 1
    assert rig.row(owed[2]).last_error == "it answered 500"


def test_what_is_owed_waits_while_its_webhook_is_off(rig: WebhookRig) -> None:
    hook = rig.webhook()
    owed = rig.owe(hook)
    rig.switch(hook, on=False)
    worker = rig.worker()

    assert worker.claim_batches(8, 20) == []
    assert rig.row(owed).state == "pending"
    rig.switch(hook, on=True)

    assert keys(only(worker.claim_batches(8, 20))) == [owed]


def test_a_receiver_that_is_gone_has_its_webhook_off_and_that_delivery_dead(rig: WebhookRig) -> None:
    hook = rig.webhook()
    owed = rig.owe(hook)
    worker = rig.worker()

    worker.switch_off(only(worker.claim_batches(8, 20)).deliveries[0], hook, "it answered 410")

    assert not rig.is_on(hook)
    assert (rig.row(owed).state, rig.row(owed).last_error) == ("dead", "it answered 410")


def test_a_zombie_changes_nothing(rig: WebhookRig) -> None:
    hook = rig.webhook()
    owed = rig.owe(hook)
    zombie, heir = rig.worker(), rig.worker()
    late = only(zombie.claim_batches(8, 20)).deliveries[0]
    rig.store.pass_time(31)
    now = only(heir.claim_batches(8, 20)).deliveries[0]

    zombie.bury(late, "no")
    zombie.switch_off(late, hook, "no")
    zombie.postpone([late], 600, "no", outage=True)
    zombie.release([late])

    assert rig.is_on(hook)
    assert rig.row(owed).state == "pending"
    heir.delivered(now)
    assert rig.row(owed).state == "delivered"


def test_what_waited_too_long_is_tried_for_the_last_time(rig: WebhookRig) -> None:
    hook = rig.webhook()
    old, fresh = rig.owe(hook), rig.owe(hook)
    rig.grow_old(old)

    batch = only(rig.worker().claim_batches(8, 20))

    assert {owed.lease.key: owed.last_try for owed in batch.deliveries} == {old: True, fresh: False}


def test_one_that_killed_five_workers_is_dead_and_the_next_ones_go_on(rig: WebhookRig) -> None:
    hook = rig.webhook()
    owed = rig.owe(hook)
    for _ in range(MAX_ATTEMPTS):
        assert rig.worker().claim_batches(8, 20)
        rig.store.pass_time(31)

    assert rig.worker().claim_batches(8, 20) == []

    assert rig.row(owed).state == "dead"
    following = rig.owe(hook)
    assert keys(only(rig.worker().claim_batches(8, 20))) == [following]


def test_a_secret_lies_sealed_and_is_of_no_use_for_another_webhook_or_under_another_key(engine: Engine) -> None:
    rig = SqlWebhookRig(engine)
    one, other = rig.webhook(), rig.webhook()
    desk = SqlWebhookDesk(engine, VAULT)
    assert desk.change(one, WebhookChange(secret="whsec_bmV3"))
    rig.owe(one)

    assert only(rig.worker().claim_batches(8, 20)).endpoint.secrets == ("whsec_bmV3", SECRET)
    assert (desk.secret(one), desk.secret(other)) == ("whsec_bmV3", SECRET)
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT secret, old_secret FROM webhooks ORDER BY old_secret")).all()
        assert not any("whsec_" in each for row in rows for each in row if each)
        connection.execute(text("UPDATE webhooks SET secret = :stolen WHERE webhook_id = :id"), stolen(rows, other))
    assert desk.secret(other) is None
    assert SqlWebhookDesk(engine, KeyVault("another secret")).secret(one) is None


def stolen(rows: Sequence[Row[tuple[str, str | None]]], thief: str) -> dict[str, str]:
    """The first webhook's secret, as it lies there, put in the place of the other's."""
    return {"stolen": rows[0][0], "id": thief}


def test_a_secret_that_an_earlier_version_kept_open_still_signs(engine: Engine) -> None:
    rig = SqlWebhookRig(engine)
    hook = rig.webhook()
    rig.owe(hook)
    with engine.begin() as connection:
        connection.execute(text("UPDATE webhooks SET secret = :open"), {"open": SECRET})

    assert only(rig.worker().claim_batches(8, 20)).endpoint.secrets == (SECRET,)

"""A COMMIT of a schedule or a delivery whose answer is lost: what it brought is there once, kept or said again."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from app.adapters.key_vault import KeyVault
from app.adapters.sql.due_schedules import SqlDueSchedules
from app.adapters.sql.engine import create_engine
from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.adapters.sql.presence import Presence
from app.adapters.sql.schedules import SqlScheduleDesk
from app.adapters.sql.webhook_outbox import SqlWebhookOutbox
from app.adapters.sql.webhooks import SqlWebhookDesk
from app.domain.schedules import Outcome, Schedule
from app.domain.timing import Timing
from app.domain.webhooks import DeliveryState, NewWebhook, WebhookChange, WebhookEvent, new_secret
from drills.proxy import Mode, Proxy
from tests.builders import an_id
from tests.contracts.store_rig import PostgresRig

ways = pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])


@pytest.fixture
def link(engine: Engine) -> Iterator[Proxy]:
    with Proxy(engine.url.host or "", engine.url.port or 0) as proxy:
        yield proxy


@pytest.fixture
def through(engine: Engine, link: Proxy) -> Iterator[Engine]:
    dsn = make_url(engine.url).set(port=link.port).render_as_string(hide_password=False)
    pool = create_engine(dsn, 4, "lied to")
    yield pool
    link.mode = Mode.PASS
    pool.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(an_id(), an_id("t-"), an_id("s-"), "hello", Timing(cron="0 * * * *"))


@ways
def test_a_schedule_is_kept_changed_and_removed_once(
    link: Proxy, through: Engine, schedule: Schedule, delivered: bool
) -> None:
    desk = SqlScheduleDesk(through)
    link.cut_at_commit(delivered=delivered)
    assert not desk.accept(schedule, None).replayed

    link.cut_at_commit(delivered=delivered)
    changed = desk.change(schedule.schedule_id, lambda before: replace(before, message="other"))
    assert changed is not None
    assert changed.schedule.message == "other"

    link.cut_at_commit(delivered=delivered)
    assert desk.remove(schedule.schedule_id)
    assert (desk.find(schedule.schedule_id), link.cuts) == (None, 3)


@ways
def test_a_due_time_has_one_turn(
    link: Proxy, through: Engine, engine: Engine, store: PostgresRig, schedule: Schedule, delivered: bool
) -> None:
    desk = SqlScheduleDesk(engine)
    desk.accept(schedule, None)
    with engine.begin() as connection:
        sql = "UPDATE schedules SET next_run_at = now() WHERE schedule_id = :id"
        connection.execute(text(sql), {"id": schedule.schedule_id})
    due = SqlDueSchedules(through, SqlInbox(through, MemoryDefaults("", "wm")), 60)
    link.cut_at_commit(containing=b"schedule_runs", delivered=delivered)

    due.run(schedule.schedule_id)
    due.run(schedule.schedule_id)

    assert store.types(schedule.session_id) == ["user", "assistant.started"]
    assert [run.outcome for run in desk.runs(schedule.schedule_id, None, 10)] == [Outcome.RAN]
    assert link.cuts == 1
    desk.remove(schedule.schedule_id)


@ways
def test_a_webhook_and_what_became_of_its_delivery_are_kept_once(
    link: Proxy, through: Engine, engine: Engine, store: PostgresRig, delivered: bool
) -> None:
    vault, secret = KeyVault("0123456789abcdef"), new_secret(b"s" * 32)
    desk = SqlWebhookDesk(through, vault)
    hook = NewWebhook(an_id(), an_id("t-"), "https://example.org/", (WebhookEvent.DEAD,), new_secret(b"o" * 32))
    link.cut_at_commit(delivered=delivered)
    assert not desk.accept(hook, None).replayed
    link.cut_at_commit(delivered=delivered)
    assert desk.change(hook.webhook_id, WebhookChange(secret=secret))
    with engine.begin() as connection:
        owe = text("SELECT owe_webhooks(:tenant, NULL, 'work.dead', 'because', now(), '{}')")
        connection.execute(owe, {"tenant": hook.tenant})
    outbox = SqlWebhookOutbox(through, Presence(through, "lied to", 30), 30, 3600, vault)
    (batch,) = [each for each in outbox.claim_batches(8, 8) if each.endpoint.webhook_id == hook.webhook_id]

    link.cut_at_commit(delivered=delivered)
    outbox.delivered(batch.deliveries[0])

    assert batch.endpoint.secrets == (secret, hook.secret)
    (found,) = desk.deliveries(hook.webhook_id, None, None, 10)
    assert (found.state, found.attempts) == (DeliveryState.DELIVERED, 1)
    link.cut_at_commit(delivered=delivered)
    assert desk.remove(hook.webhook_id)
    assert link.cuts == 4

"""Budgets on the real Postgres, with many at once: a limit that holds exactly, and sums that are right after all."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import Engine, text

from app.adapters.redis.live import RedisBroadcast
from app.adapters.scribe import SharedScribe
from app.adapters.sql.budgets import SqlBudgetDesk
from app.adapters.sql.engine import create_engine
from app.adapters.sql.inbox import SqlInbox
from app.adapters.sql.presence import Presence
from app.adapters.sql.spending import SqlSpending
from app.adapters.sql.transcripts import SqlTranscripts
from app.adapters.sql.turns import SqlTurns
from app.adapters.sql.upkeep import SqlUpkeep
from app.adapters.stop_watch import StopWatch
from app.domain.audit import Actor
from app.domain.budgets import Budget, BudgetName, Dimension, Expense, PaidCall, Payer
from app.domain.dialogue import ModelCall, Utterance
from app.domain.errors import BudgetSpent
from app.services.conversation import Conversation
from app.services.converse import converse
from app.services.prepare_turn import Preparation
from app.services.spend import Purse
from app.settings import Settings
from app.wiring.process import SystemClock
from tests.builders import a_message, an_id
from tests.conftest import PATIENT, eventually
from tests.fakes import RecordingDoorbell, RecordingNotes, ScriptedModel, ScriptedPolicy
from tests.fakes_parts import FixedRoster, always_in_company

pytestmark = pytest.mark.servers

TURNS, ADMITTED, AT_ONCE = 500, 100, 24
ADMIN = Actor("anonymous", "r-1")
OUTPUT = FixedRoster().profiles[0].output_tokens
EACH = ModelCall([Utterance("system", ""), Utterance("user", "hello")]).input_tokens + OUTPUT


@pytest.fixture
def wide(settings: Settings) -> Iterator[Engine]:
    made = create_engine(settings.postgres_dsn.get_secret_value(), AT_ONCE + 6, "budgets", PATIENT)
    yield made
    made.dispose()


class Crowd:
    """As many turns as there are threads, of which `AT_ONCE` at a time speak to Postgres; those that the model hears
    of are held there until they are let go on.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.tenant = an_id("t-")
        self.refused: list[str] = []
        self.go_on = threading.Event()
        self._engine = engine
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._presence = Presence(engine, "crowd", 60)
        turns = SqlTurns(engine, self._presence, 60)
        spending = SqlSpending(engine, ADMITTED * EACH)
        self._conversation = Conversation(
            turns, ScriptedModel([self._hold, "hello"]), RedisBroadcast(settings.redis_url.get_secret_value()),
            RecordingDoorbell(), SystemClock(), RecordingNotes(),
            Preparation(FixedRoster(), SqlTranscripts(engine), ""), None, always_in_company,
            StopWatch(turns.asked_to_stop), ScriptedPolicy(), SharedScribe(turns.save_partials),
            paying=Purse(spending, SystemClock(), refused=self.refused.append).paying,
        )  # fmt: skip

    def __enter__(self) -> "Crowd":
        self._presence.start()
        eventually(self._presence.is_known)
        return self

    def __exit__(self, *_: object) -> None:
        self._presence.stop()

    def _hold(self) -> None:
        self._room.release()
        self.go_on.wait(120)
        self._room.acquire()

    def answer(self, event_id: str) -> str:
        with self._room:
            return converse(event_id, self._conversation)

    def accept(self, number: int) -> list[str]:
        inbox = SqlInbox(self._engine, None)
        messages = [a_message("hello", tenant=self.tenant) for _ in range(number)]
        for message in messages:
            inbox.accept(message, None)
        return [message.event_id for message in messages]

    @property
    def budget(self) -> Budget:
        name = BudgetName(self.tenant, Dimension.TENANT, self.tenant)
        return SqlBudgetDesk(self._engine, ADMITTED * EACH).budget(name)


def test_of_500_turns_at_once_a_budget_for_100_admits_exactly_100(wide: Engine, settings: Settings) -> None:
    with Crowd(wide, settings) as crowd, ThreadPoolExecutor(TURNS) as threads:
        outcomes = [threads.submit(crowd.answer, event_id) for event_id in crowd.accept(TURNS)]
        try:
            eventually(lambda: len(crowd.refused) >= TURNS - ADMITTED, 120)
            eventually(lambda: sum(outcome.done() for outcome in outcomes) >= TURNS - ADMITTED)
            assert crowd.budget.reserved == ADMITTED * EACH
        finally:
            crowd.go_on.set()
        wait(outcomes, 120)
        ended = Counter(outcome.result() for outcome in outcomes)

        assert ended == {"done": ADMITTED, "failed": TURNS - ADMITTED}
        assert crowd.refused == ["tenant"] * (TURNS - ADMITTED)
        assert (crowd.budget.used, crowd.budget.reserved) == (ADMITTED * (7 + len("hello")), 0)


def test_whoever_reserves_settles_and_returns_at_once_never_waits_in_a_ring(wide: Engine) -> None:
    tenant, spending = an_id("t-"), SqlSpending(wide, None)

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(40):
            payer = Payer(tenant, dice.choice(["p-1", "p-2", None]), dice.choice(["k-1", "k-2"]))
            call = PaidCall(an_id(), 1, str(number), "nobody", payer)
            spending.reserve(call, 100)
            if dice.random() < 0.3:
                spending.return_unclaimed()
            if dice.random() < 0.8:
                spending.settle(call, Expense("m", dice.randrange(9), 1))

    with ThreadPoolExecutor(8) as threads:
        for outcome in [threads.submit(work, seed) for seed in range(8)]:
            outcome.result(60)
    spending.return_unclaimed()

    sql = """SELECT dimension, sum(used), sum(reserved) FROM token_spending WHERE tenant = :tenant GROUP BY 1"""
    used = "SELECT sum(input_tokens + output_tokens) FROM token_usage WHERE tenant = :tenant"
    with wide.begin() as connection:
        found = {row[0]: (row[1], row[2]) for row in connection.execute(text(sql), {"tenant": tenant})}
        total = connection.execute(text(used), {"tenant": tenant}).scalar_one()
    assert found["tenant"] == found["key"] == (total, 0)
    assert found["persona"][1] == 0


def test_a_reservation_whose_commit_is_under_way_is_waited_for_and_not_made_twice(wide: Engine) -> None:
    tenant = an_id("t-")
    call = PaidCall(an_id(), 1, "1", "nobody", Payer(tenant, None, "anonymous"))
    first, second = SqlSpending(wide, 1_000), SqlSpending(wide, 1_000)
    with ThreadPoolExecutor(1) as elsewhere, wide.connect() as connection:
        connection.execute(text(
            "INSERT INTO token_reservations (event_id, attempts, step, owner, tenant, subject, day, tokens)"
            " VALUES (:id, 1, '1', 'nobody', :tenant, 'anonymous', now()::date, 600)"
        ), {"id": call.event_id, "tenant": tenant})  # fmt: skip
        again = elsewhere.submit(second.reserve, call, 600)
        with pytest.raises(TimeoutError):
            again.result(0.5)
        connection.commit()
        again.result(10)

    first.settle(call, Expense("m", 10, 10))
    name = BudgetName(tenant, Dimension.TENANT, tenant)
    assert SqlBudgetDesk(wide, 1_000).budget(name).used == 20


def test_old_days_and_reservations_are_pruned_and_what_is_held_is_not(wide: Engine) -> None:
    tenant, spending = an_id("t-"), SqlSpending(wide, None)
    calls = [PaidCall(an_id(), 1, "1", "nobody", Payer(tenant, None, "k")) for _ in range(3)]
    for call in calls:
        spending.reserve(call, 100)
    spending.settle(calls[0], Expense("m", 1, 1))
    spending.settle(calls[1], Expense("m", 1, 1))
    with wide.begin() as connection:
        finished = "UPDATE token_reservations SET finished_at = now() - interval '25 hours' WHERE event_id = :id"
        connection.execute(text(finished), {"id": calls[0].event_id})
        for number, reserved in enumerate((0, 100)):
            connection.execute(text(
                "INSERT INTO token_spending VALUES (:tenant, 'key', :who, current_date - 8, 10, :reserved)"
            ), {"tenant": tenant, "who": f"old {number}", "reserved": reserved})  # fmt: skip

    SqlUpkeep(wide).prune()

    with wide.begin() as connection:
        left = connection.execute(
            text("SELECT event_id FROM token_reservations WHERE tenant = :tenant"), {"tenant": tenant}
        ).scalars()
        assert set(left) == {calls[1].event_id, calls[2].event_id}
        days = connection.execute(text("SELECT who FROM token_spending WHERE tenant = :tenant"), {"tenant": tenant})
        assert set(days.scalars()) == {tenant, "k", "old 1"}


def test_a_limit_that_is_lowered_below_what_is_spent_refuses_everybody(wide: Engine) -> None:
    tenant, spending, desk = an_id("t-"), SqlSpending(wide, 1_000), SqlBudgetDesk(wide, 1_000)
    call = PaidCall(an_id(), 1, "1", "nobody", Payer(tenant, None, "k"))
    spending.reserve(call, 500)
    spending.settle(call, Expense("m", 300, 100))
    desk.set_limit(BudgetName(tenant, Dimension.TENANT, tenant), 10, ADMIN)

    with pytest.raises(BudgetSpent, match="400 of 10 tokens"):
        spending.reserve(PaidCall(an_id(), 1, "1", "nobody", Payer(tenant, None, "k")), 1)

"""What every `Spending` and `BudgetDesk` promises: a limit that holds, and nothing reserved for the dead."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.audit import Actor
from app.domain.budgets import (
    BudgetName,
    DailyUsage,
    Dimension,
    Expense,
    PaidCall,
    Payer,
    UsageBy,
    UsageFilter,
    UsagePlace,
    paid_call,
)
from app.domain.errors import BudgetSpent
from tests.builders import a_final, a_message, an_id
from tests.conftest import eventually
from tests.contracts.store_rig import DEFAULT_LIMIT, Process, StoreRig

ADMIN = Actor("anonymous", "r-1")
EVER = (datetime(2000, 1, 1, tzinfo=UTC).date(), datetime(2100, 1, 1, tzinfo=UTC).date())


@pytest.fixture
def tenant() -> str:
    return an_id("t-")


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process().appear()


def a_call(store: StoreRig, worker: Process, tenant: str, persona: str | None = None, step: str = "1") -> PaidCall:
    """A call for a turn that this worker has claimed."""
    message = a_message(tenant=tenant, persona_id=persona)
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    return paid_call(turn, step)


def of_tenant(tenant: str) -> BudgetName:
    return BudgetName(tenant, Dimension.TENANT, tenant)


def stands(store: StoreRig, name: BudgetName) -> tuple[int, int]:
    budget = store.budgets.budget(name)
    return budget.used, budget.reserved


def test_a_call_is_reserved_and_then_spent_on_every_budget_that_it_goes_on(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    call = a_call(store, worker, tenant, "p-1")
    names = [BudgetName(tenant, *whose) for whose in (
        (Dimension.TENANT, tenant), (Dimension.PERSONA, "p-1"), (Dimension.KEY, "anonymous")
    )]  # fmt: skip

    store.spending.reserve(call, 300)
    assert [stands(store, name) for name in names] == [(0, 300)] * 3

    store.spending.settle(call, Expense("m", 100, 20))

    assert [stands(store, name) for name in names] == [(120, 0)] * 3


def test_what_does_not_fit_is_refused_with_the_figures_and_the_time_of_more(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    spent = a_call(store, worker, tenant)
    store.spending.reserve(spent, 900)
    store.spending.settle(spent, Expense("m", 800, 50))
    store.spending.reserve(a_call(store, worker, tenant), 100)

    with pytest.raises(BudgetSpent) as refused:
        store.spending.reserve(a_call(store, worker, tenant), 51)

    refills_at = store.budgets.budget(of_tenant(tenant)).refills_at
    assert refused.value.dimension == "tenant"
    assert refused.value.budget == {
        "dimension": "tenant", "limit": DEFAULT_LIMIT, "used": 850, "refills_at": refills_at.isoformat(),
    }  # fmt: skip
    assert "950 of 1,000 tokens" in str(refused.value)
    assert f"{refills_at:%Y-%m-%d} at 00:00 UTC" in str(refused.value)
    store.spending.reserve(a_call(store, worker, tenant), 50)


def test_what_one_budget_refuses_is_reserved_on_none(store: StoreRig, worker: Process, tenant: str) -> None:
    persona = BudgetName(tenant, Dimension.PERSONA, "p-1")
    store.budgets.set_limit(persona, 40, ADMIN)

    with pytest.raises(BudgetSpent) as refused:
        store.spending.reserve(a_call(store, worker, tenant, "p-1"), 50)

    assert refused.value.dimension == "persona"
    assert "more" not in str(refused.value)
    assert stands(store, of_tenant(tenant)) == stands(store, persona) == (0, 0)
    store.spending.reserve(a_call(store, worker, tenant, "p-2"), 50)
    store.spending.reserve(a_call(store, worker, tenant), 50)


@pytest.mark.parametrize("dimension", Dimension)
def test_every_dimension_has_its_own_limit(store: StoreRig, worker: Process, tenant: str, dimension: Dimension) -> None:
    who = {Dimension.TENANT: tenant, Dimension.PERSONA: "p-1", Dimension.KEY: "anonymous"}[dimension]
    store.budgets.set_limit(BudgetName(tenant, dimension, who), 100, ADMIN)
    store.spending.reserve(a_call(store, worker, tenant, "p-1"), 100)

    with pytest.raises(BudgetSpent) as refused:
        store.spending.reserve(a_call(store, worker, tenant, "p-1"), 1)

    assert refused.value.dimension == dimension


def test_reserving_twice_takes_once(store: StoreRig, worker: Process, tenant: str) -> None:
    call = a_call(store, worker, tenant)

    for _ in range(2):
        store.spending.reserve(call, 600)

    assert stands(store, of_tenant(tenant)) == (0, 600)


def test_settling_twice_costs_once(store: StoreRig, worker: Process, tenant: str) -> None:
    call = a_call(store, worker, tenant)
    store.spending.reserve(call, 100)

    for _ in range(2):
        store.spending.settle(call, Expense("m", 30, 5, 0.25))

    assert stands(store, of_tenant(tenant)) == (35, 0)
    (line,) = store.budgets.usage(UsageFilter(UsageBy.TENANT, *EVER, tenant), None, 10)
    assert (line.requests, line.input_tokens, line.output_tokens, line.cost) == (1, 30, 5, 0.25)


def test_the_steps_of_one_attempt_are_paid_for_each(store: StoreRig, worker: Process, tenant: str) -> None:
    first = a_call(store, worker, tenant, step="1")
    second = PaidCall(first.event_id, first.attempts, "2", first.owner, first.payer)

    for call in (first, second):
        store.spending.reserve(call, 100)
        store.spending.settle(call, Expense("m", 40, 10))

    assert stands(store, of_tenant(tenant)) == (100, 0)


def test_what_was_spent_counts_although_its_reservation_was_forgotten(store: StoreRig, tenant: str) -> None:
    call = PaidCall(an_id(), 1, "1", "nobody", Payer(tenant, None, "anonymous"))

    for _ in range(2):
        store.spending.settle(call, Expense("m", 5, 5))

    assert stands(store, of_tenant(tenant)) == (10, 0)


def test_a_running_call_keeps_what_it_reserved(store: StoreRig, worker: Process, tenant: str) -> None:
    store.spending.reserve(a_call(store, worker, tenant), 100)

    store.spending.return_unclaimed()

    assert stands(store, of_tenant(tenant)) == (0, 100)


def test_what_a_dead_worker_reserved_returns_as_soon_as_the_sweep_frees_its_turn(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    store.spending.return_unclaimed()
    for persona in ("p-1", "p-2", None):
        store.spending.reserve(a_call(store, worker, tenant, persona), 100)
    worker.die()
    eventually(lambda: store.sweep()["turn"])

    assert store.spending.return_unclaimed() == 3

    assert stands(store, of_tenant(tenant)) == (0, 0)
    assert stands(store, BudgetName(tenant, Dimension.PERSONA, "p-1")) == (0, 0)
    assert store.spending.return_unclaimed() == 0


def test_a_turn_is_not_refused_for_what_its_own_dead_worker_reserved(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    message = a_message(tenant=tenant)
    store.inbox.accept(message, None)
    for process in (worker, store.process().appear()):
        turn = process.turns.claim(message.event_id)
        assert turn is not None
        store.spending.reserve(paid_call(turn, "1"), 600)
        process.die()
        eventually(lambda: store.sweep()["turn"])

    assert stands(store, of_tenant(tenant)) == (0, 600)


def test_what_a_frozen_worker_reserved_returns_when_its_lease_runs_out(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    store.spending.reserve(a_call(store, worker, tenant), 100)
    store.pass_time(31)

    store.spending.return_unclaimed()

    assert stands(store, of_tenant(tenant)) == (0, 0)


def test_what_was_left_over_by_a_turn_that_ended_returns(store: StoreRig, worker: Process, tenant: str) -> None:
    message = a_message(tenant=tenant)
    store.inbox.accept(message, None)
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    store.spending.reserve(paid_call(turn, "1"), 100)
    worker.turns.finish(turn, a_final(message.event_id), "done", None)

    store.spending.return_unclaimed()

    assert stands(store, of_tenant(tenant)) == (0, 0)


def test_a_zombie_pays_for_what_it_heard_although_its_reservation_is_gone(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    call = a_call(store, worker, tenant)
    store.spending.reserve(call, 100)
    store.pass_time(31)
    store.spending.return_unclaimed()

    store.spending.settle(call, Expense("m", 60, 10))

    assert stands(store, of_tenant(tenant)) == (70, 0)


def test_a_limit_that_is_set_holds_from_the_next_call_on_and_counts_what_was_spent_before(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    store.spending.reserve(a_call(store, worker, tenant), 900)

    store.budgets.set_limit(of_tenant(tenant), 950, ADMIN)

    with pytest.raises(BudgetSpent):
        store.spending.reserve(a_call(store, worker, tenant), 51)
    store.spending.reserve(a_call(store, worker, tenant), 50)


def test_a_limit_of_none_lifts_the_default_and_dropping_it_brings_that_back(
    store: StoreRig, worker: Process, tenant: str
) -> None:
    name = of_tenant(tenant)
    assert store.budgets.budget(name).tokens_per_day == DEFAULT_LIMIT

    store.budgets.set_limit(name, None, ADMIN)
    store.spending.reserve(a_call(store, worker, tenant), 5_000)
    assert store.budgets.budget(name).tokens_per_day is None

    assert store.budgets.drop_limit(name, ADMIN)
    assert not store.budgets.drop_limit(name, ADMIN)
    with pytest.raises(BudgetSpent):
        store.spending.reserve(a_call(store, worker, tenant), 1)


def test_the_budgets_that_were_set_are_listed_in_pages(store: StoreRig, tenant: str) -> None:
    names = [
        BudgetName(tenant, Dimension.KEY, "anonymous"),
        BudgetName(tenant, Dimension.PERSONA, "p-1"),
        BudgetName(tenant, Dimension.PERSONA, "p-2"),
        of_tenant(tenant),
    ]
    for number, name in enumerate(reversed(names)):
        store.budgets.set_limit(name, number, ADMIN)

    first = store.budgets.budgets(tenant, None, 3)
    rest = store.budgets.budgets(tenant, first[-1].name, 3)

    assert [budget.name for budget in [*first, *rest]] == names
    assert [budget.tokens_per_day for budget in [*first, *rest]] == [3, 2, 1, 0]


def test_usage_is_summed_up_by_what_was_asked_for(store: StoreRig, worker: Process, tenant: str) -> None:
    for persona, model, tokens in (("p-1", "a", 1), ("p-1", "b", 2), (None, "a", 4)):
        call = a_call(store, worker, tenant, persona)
        store.spending.reserve(call, 10)
        store.spending.settle(call, Expense(model, tokens, 10 * tokens, tokens / 4))

    def lines(by: UsageBy) -> list[tuple[str, int, int, int, float]]:
        found = store.budgets.usage(UsageFilter(by, *EVER, tenant), None, 10)
        return [(line.who, line.requests, line.input_tokens, line.output_tokens, line.cost) for line in found]

    assert lines(UsageBy.TENANT) == [("", 3, 7, 70, 1.75)]
    assert lines(UsageBy.PERSONA) == [("", 1, 4, 40, 1.0), ("p-1", 2, 3, 30, 0.75)]
    assert lines(UsageBy.KEY) == [("anonymous", 3, 7, 70, 1.75)]
    assert lines(UsageBy.MODEL) == [("a", 2, 5, 50, 1.25), ("b", 1, 2, 20, 0.5)]


def test_usage_comes_in_pages_and_within_its_days(store: StoreRig, worker: Process, tenant: str) -> None:
    for model in ("a", "b", "c"):
        call = a_call(store, worker, tenant)
        store.spending.reserve(call, 10)
        store.spending.settle(call, Expense(model, 1, 1))
    wanted = UsageFilter(UsageBy.MODEL, *EVER, tenant)

    first = store.budgets.usage(wanted, None, 2)
    rest = store.budgets.usage(wanted, UsagePlace(first[-1].day, tenant, "b"), 2)

    assert [line.who for line in [*first, *rest]] == ["a", "b", "c"]
    today = first[0].day
    assert store.budgets.usage(UsageFilter(UsageBy.MODEL, today + timedelta(1), EVER[1], tenant), None, 9) == []
    assert store.budgets.usage(UsageFilter(UsageBy.MODEL, EVER[0], today - timedelta(1), tenant), None, 9) == []
    assert isinstance(first[0], DailyUsage)


def test_estimates_are_corrected_by_what_models_reported(store: StoreRig, worker: Process, tenant: str) -> None:
    store.budgets.set_limit(of_tenant(tenant), None, ADMIN)
    assert store.spending.correction(tenant, "a") == 1.0
    for model, reported in (("a", 3_000), ("b", 1_800)):
        call = a_call(store, worker, tenant)
        store.spending.reserve(call, 10)
        store.spending.settle(call, Expense(model, reported, 1, 0, 2_000, reported))

    assert store.spending.correction(tenant, "a") == 1.5
    assert store.spending.correction(tenant, "b") == 0.9
    assert store.spending.correction(tenant, "") == 1.2
    assert store.spending.correction(an_id("t-"), "a") == 1.0

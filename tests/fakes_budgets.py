"""Budgets in a dictionary, with the rules of `app/adapters/sql/spending.py` and `budgets.py`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import date

from app.domain.audit import Actor
from app.domain.budgets import (
    Budget,
    BudgetName,
    DailyUsage,
    Dimension,
    Expense,
    PaidCall,
    Payer,
    UsageBy,
    UsageFilter,
    UsagePlace,
    refused,
)
from app.domain.leases import Lease
from app.domain.tokens import correction
from tests.fakes_store import InMemoryStore


@dataclass
class FakeReservation:
    """What was set aside for one call."""

    call: PaidCall
    day: date
    tokens: int
    returned: bool = False
    settled: bool = False

    @property
    def held(self) -> bool:
        return not (self.returned or self.settled)


@dataclass
class Spent:
    """How a budget stands on a day."""

    used: int = 0
    reserved: int = 0


def budgets_of(payer: Payer) -> list[BudgetName]:
    """The budgets that somebody's calls go on, the tenant's first."""
    found = [BudgetName(payer.tenant, Dimension.TENANT, payer.tenant)]
    if payer.persona_id:
        found.append(BudgetName(payer.tenant, Dimension.PERSONA, payer.persona_id))
    return [*found, BudgetName(payer.tenant, Dimension.KEY, payer.subject)]


@dataclass
class InMemoryBudgets:
    """`Spending` and `BudgetDesk` over the store whose turns' claims count."""

    store: InMemoryStore
    default_limit: int | None = None
    limits: dict[BudgetName, int | None] = field(default_factory=dict)
    spent: dict[tuple[BudgetName, date], Spent] = field(default_factory=lambda: defaultdict(Spent))
    reservations: dict[tuple[str, int, str], FakeReservation] = field(default_factory=dict)
    expenses: list[tuple[date, Payer, Expense]] = field(default_factory=list)

    @property
    def today(self) -> date:
        return self.store.clock.now().date()

    # --- Spending

    def reserve(self, call: PaidCall, tokens: int) -> None:
        with self.store.transaction():
            if (call.event_id, call.attempts, call.step) in self.reservations:
                return
            self.return_unclaimed()
            for budget in map(self._budget, budgets_of(call.payer)):
                limit = budget.tokens_per_day
                if limit is not None and budget.used + budget.reserved + tokens > limit:
                    raise refused(budget, tokens)
            self.reservations[call.event_id, call.attempts, call.step] = FakeReservation(call, self.today, tokens)
            self._change(call.payer, self.today, 0, tokens)

    def settle(self, call: PaidCall, expense: Expense) -> None:
        with self.store.transaction():
            key = (call.event_id, call.attempts, call.step)
            made = self.reservations.setdefault(key, FakeReservation(call, self.today, 0))
            if made.settled:
                return
            freed = 0 if made.returned else made.tokens
            self._change(call.payer, made.day, expense.input_tokens + expense.output_tokens, -freed)
            self.expenses.append((made.day, call.payer, expense))
            made.settled = True

    def return_unclaimed(self) -> int:
        with self.store.transaction():
            orphans = [made for made in self.reservations.values() if made.held and self._is_over(made.call)]
            for made in orphans:
                made.returned = True
                self._change(made.call.payer, made.day, 0, -made.tokens)
            return len(orphans)

    def _is_over(self, call: PaidCall) -> bool:
        rows = self.store.turn_rows
        held = rows.holds(Lease(call.event_id, call.owner, call.attempts))
        return not held or not rows.is_held(rows.rows[call.event_id])

    def _change(self, payer: Payer, day: date, used: int, reserved: int) -> None:
        for name in budgets_of(payer):
            stands = self.spent[name, day]
            stands.used += used
            stands.reserved += reserved

    def correction(self, tenant: str, model: str) -> float:
        of_tenant = [expense for _, payer, expense in self.expenses if payer.tenant == tenant]
        found = [expense for expense in of_tenant if model in ("", expense.model)]
        return correction(sum(e.estimated_tokens for e in found), sum(e.reported_tokens for e in found))

    # --- BudgetDesk

    def _budget(self, name: BudgetName) -> Budget:
        default = self.default_limit if name.dimension is Dimension.TENANT else None
        stands = self.spent[name, self.today]
        return Budget(name, self.limits.get(name, default), stands.used, stands.reserved, self.today)

    def budget(self, name: BudgetName) -> Budget:
        with self.store.transaction():
            return self._budget(name)

    def budgets(self, tenant: str | None, after: BudgetName | None, limit: int) -> Sequence[Budget]:
        with self.store.transaction():
            names = sorted((name for name in self.limits if tenant in (None, name.tenant)), key=astuple)
            beyond = [name for name in names if after is None or astuple(name) > astuple(after)]
            return [self._budget(name) for name in beyond[:limit]]

    def set_limit(self, name: BudgetName, tokens_per_day: int | None, actor: Actor) -> None:
        with self.store.transaction():
            self.limits[name] = tokens_per_day

    def drop_limit(self, name: BudgetName, actor: Actor) -> bool:
        with self.store.transaction():
            return self.limits.pop(name, self) is not self

    def usage(self, wanted: UsageFilter, after: UsagePlace | None, limit: int) -> Sequence[DailyUsage]:
        with self.store.transaction():
            sums = self._sums(wanted)
        beyond = [place for place in sorted(sums) if after is None or place > astuple(after)]
        return [DailyUsage(*place, *sums[place]) for place in beyond[:limit]]

    def _sums(self, wanted: UsageFilter) -> Mapping[tuple[date, str, str], tuple[int, int, int, float]]:
        sums: dict[tuple[date, str, str], tuple[int, int, int, float]] = {}
        for day, payer, expense in self.expenses:
            if wanted.first <= day <= wanted.last and wanted.tenant in (None, payer.tenant):
                place = (day, payer.tenant, _who(wanted.by, payer, expense))
                times, said, heard, cost = sums.get(place, (0, 0, 0, 0.0))
                more = (times + 1, said + expense.input_tokens, heard + expense.output_tokens, cost + expense.cost)
                sums[place] = more
        return sums


def _who(by: UsageBy, payer: Payer, expense: Expense) -> str:
    return {
        UsageBy.TENANT: "",
        UsageBy.PERSONA: payer.persona_id or "",
        UsageBy.KEY: payer.subject,
        UsageBy.MODEL: expense.model,
    }[by]

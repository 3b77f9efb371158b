"""Budgets as roles: what workers spend by, and what people set and read."""

from collections.abc import Sequence
from typing import Protocol

from app.domain.audit import Actor
from app.domain.budgets import Budget, BudgetName, DailyUsage, Expense, PaidCall, UsageFilter, UsagePlace


class Spending(Protocol):
    """The budgets, as those see them who call models."""

    def reserve(self, call: PaidCall, tokens: int) -> None:
        """Set so many tokens aside, once, on every budget that the call goes on, or on none: `BudgetSpent`. What is
        reserved under claims that are over refuses nobody.
        """

    def settle(self, call: PaidCall, expense: Expense) -> None:
        """Spend this, once, instead of what was reserved, also where that was returned or forgotten meanwhile."""

    def return_unclaimed(self) -> int:
        """Give back what was reserved under claims that are over; how many reservations."""

    def correction(self, tenant: str, model: str) -> float:
        """By what to multiply estimates for this model, or for a model that has no name for all, by the usage that was
        reported of late.
        """


class BudgetDesk(Protocol):
    """The budgets and their usage, as people see them."""

    def budget(self, name: BudgetName) -> Budget:
        """This budget today, with the default limit where none was set."""

    def budgets(self, tenant: str | None, after: BudgetName | None, limit: int) -> Sequence[Budget]:
        """Budgets that were set, in the order of their names."""

    def set_limit(self, name: BudgetName, tokens_per_day: int | None, actor: Actor) -> None:
        """From now on; None lifts a default, too."""

    def drop_limit(self, name: BudgetName, actor: Actor) -> bool:
        """Forget that a limit was set; whether there was one."""

    def usage(self, wanted: UsageFilter, after: UsagePlace | None, limit: int) -> Sequence[DailyUsage]:
        """A page, oldest day first."""

"""Budgets of tokens: who pays for a call of a model, what it cost, and what is said when there is no more.

A budget belongs to a tenant, one of its personas or one of its keys, and is refilled at midnight, UTC.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from app.domain.conversation import Turn
from app.domain.dialogue import Usage
from app.domain.errors import BudgetSpent
from app.domain.profiles import Profile

_PER_MILLION = 1_000_000


class Dimension(StrEnum):
    """Whose tokens a budget counts."""

    TENANT = "tenant"
    PERSONA = "persona"
    KEY = "key"


_WHOSE = {
    Dimension.TENANT: "of this tenant",
    Dimension.PERSONA: "of this persona",
    Dimension.KEY: "of this key",
}


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose budgets a call goes; without a persona there is none of it."""

    tenant: str
    persona_id: str | None
    subject: str


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One call of a model: `step` tells those of one attempt at a turn apart. Reserved and settled under this name, it
    costs once however often that is said.
    """

    event_id: str
    attempts: int
    step: str
    owner: str
    payer: Payer


@dataclass(frozen=True, slots=True)
class Expense:
    """What a call cost, in tokens and in the currency of its profile's prices.

    `estimated_tokens` of input became `reported_tokens` by the model's own count; both are 0 where it gave none.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    estimated_tokens: int = 0
    reported_tokens: int = 0


@dataclass(frozen=True, slots=True)
class BudgetName:
    """Whose budget: the tenant's own, or that of one of its personas or keys."""

    tenant: str
    dimension: Dimension
    who: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.dimension}/{self.who}"


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget on one day: its limit (None: there is none), what is spent and what running calls may still spend."""

    name: BudgetName
    tokens_per_day: int | None
    used: int
    reserved: int
    day: date

    @property
    def refills_at(self) -> datetime:
        """When the next day's tokens come."""
        return datetime.combine(self.day + timedelta(days=1), time(), UTC)


def paid_call(turn: Turn, step: str) -> PaidCall:
    """A call within this attempt at a turn."""
    payer = Payer(turn.tenant, turn.persona_id, turn.subject)
    return PaidCall(turn.event_id, turn.attempts, step, turn.lease_owner, payer)


def expense_of(profile: Profile, source: str, usage: Usage, estimated: int = 0) -> Expense:
    """What this usage cost at this profile's prices. `source` is the model that answered, if one did; `estimated` the
    input's tokens where the model itself has counted them.
    """
    price = usage.input_tokens * profile.input_price + usage.output_tokens * profile.output_price
    return Expense(
        source or profile.model or profile.name,
        usage.input_tokens,
        usage.output_tokens,
        price / _PER_MILLION,
        estimated,
        usage.input_tokens if estimated else 0,
    )


def refused(budget: Budget, tokens: int) -> BudgetSpent:
    """Why a call that may take so many tokens is not made, when one can be, and how the budget stands."""
    dimension, limit, refill = budget.name.dimension, budget.tokens_per_day or 0, budget.refills_at
    if tokens > limit:
        why = f"this answer may take {tokens:,} tokens, and there are {limit:,} for a whole day"
    else:
        taken = budget.used + budget.reserved
        why = f"{taken:,} of {limit:,} tokens are spent or reserved, and this answer may take {tokens:,}"
    when = f"It refills on {refill:%Y-%m-%d at %H:%M} UTC."
    sentence = f"Today's token budget {_WHOSE[dimension]} does not suffice: {why}. {when}"
    told = {"dimension": dimension.value, "limit": limit, "used": budget.used, "refills_at": refill.isoformat()}
    return BudgetSpent(sentence, dimension.value, told)


class UsageBy(StrEnum):
    """How usage may be summed up within a day and a tenant."""

    TENANT = "tenant"
    PERSONA = "persona"
    KEY = "key"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage: days from `first` to `last`, both included; of one tenant or of all."""

    by: UsageBy
    first: date
    last: date
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class UsagePlace:
    """Where a line of usage stands in a list."""

    day: date
    tenant: str
    who: str


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """What was spent on a day by a tenant, or there by one persona or key, or on one model, whose name is `who`."""

    day: date
    tenant: str
    who: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float

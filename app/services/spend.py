"""What a model's answers cost: set aside before each call, spent after it, whatever becomes of the call.

Whoever calls models for a turn does so within `Purse.paying`: for an answer, a round of a tool loop, a summary.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from typing import Protocol

from app.domain.budget_ports import Spending
from app.domain.budgets import Expense, PaidCall, expense_of, paid_call
from app.domain.conversation import Turn
from app.domain.conversation_control import Stop
from app.domain.dialogue import Answer, ModelCall, Piece, Usage, estimate_asks
from app.domain.errors import BudgetSpent, StoreUnavailable
from app.domain.model_ports import Model
from app.domain.ports import Clock
from app.domain.profiles import Profile
from app.domain.tokens import estimate_tokens
from app.services.correct_estimates import uncorrected
from app.services.insist import insist


class Paying(Protocol):
    """`Purse.paying`."""

    def __call__(self, turn: Turn, model: Model, purpose: str = "answer", /) -> AbstractContextManager[Model]:
        """The same model, whose calls are paid for."""


_log = logging.getLogger(__name__)


def free_of_charge(_turn: Turn, model: Model, _purpose: str = "") -> AbstractContextManager[Model]:
    """`Purse.paying` where nobody pays."""
    return nullcontext(model)


@dataclass(frozen=True, slots=True)
class Purse:
    """What paying needs; `refused` is told the dimension of every budget that did not suffice."""

    spending: Spending
    clock: Clock
    correction: Callable[[str, Profile], float] = uncorrected
    refused: Callable[[str], None] = lambda _: None

    @contextmanager
    def paying(self, turn: Turn, model: Model, purpose: str = "answer") -> Iterator[Model]:
        """The same model, for this attempt at the turn: its calls raise `BudgetSpent` where a budget does not suffice.
        Every one of them is settled when the block ends. `purpose` tells what else is called for than the answer.
        """
        paid = _PaidModel(turn, model, self, purpose)
        try:
            yield paid
        finally:
            paid.settle()


@dataclass(slots=True)
class _Bill:
    """A call that is reserved and not settled: what is asked, and what came of the answer so far."""

    call: PaidCall
    profile: Profile
    estimated: int
    factor: float
    said: list[str] = field(default_factory=list)
    answer: Answer | None = None

    @property
    def input_tokens(self) -> int:
        return ceil(self.estimated * self.factor)

    @property
    def expense(self) -> Expense:
        usage = self.answer.usage if self.answer else Usage()
        source = self.answer.source if self.answer else ""
        if usage.input_tokens:
            return expense_of(self.profile, source, usage, self.estimated)
        return expense_of(self.profile, source, self._guess(usage) if self.answer or self.said else usage)

    def _guess(self, usage: Usage) -> Usage:
        asks = self.answer.asks if self.answer else ()
        written = estimate_tokens("".join(self.said)) + estimate_asks(asks)
        return Usage(self.input_tokens, usage.output_tokens or written)

    def hear(self, piece: Piece) -> None:
        self.said.append(piece.text)
        self.answer = piece.answer


class _PaidModel:
    """`Model` whose calls are paid for, one after the other."""

    def __init__(self, turn: Turn, model: Model, purse: Purse, purpose: str) -> None:
        self._turn = turn
        self._model = model
        self._purse = purse
        self._steps = (f"{purpose}:{number}" for number in count(1))
        self._open: _Bill | None = None

    def stream(self, profile: Profile, call: ModelCall, stop: Stop) -> Iterator[Piece]:
        """The model's own pieces."""
        self.settle()
        self._open = bill = self._reserve(profile, call)
        try:
            for piece in self._model.stream(profile, call, stop):
                bill.hear(piece)
                yield piece
        finally:
            # A reader who has the whole answer reads no further, and may have begun the next call by now.
            if self._open is bill:
                self.settle()

    def _reserve(self, profile: Profile, call: ModelCall) -> _Bill:
        factor = self._purse.correction(self._turn.tenant, profile)
        bill = _Bill(paid_call(self._turn, next(self._steps)), profile, call.input_tokens, factor)
        try:
            self._purse.spending.reserve(bill.call, bill.input_tokens + (call.output_tokens or profile.output_tokens))
        except BudgetSpent as error:
            self._purse.refused(error.dimension)
            raise
        return bill

    def settle(self) -> None:
        """Settle the call that is open, if one is."""
        bill, self._open = self._open, None
        if bill is None:
            return
        try:
            insist(lambda: self._purse.spending.settle(bill.call, bill.expense), self._purse.clock)
        except StoreUnavailable as error:
            # The answer matters more than its price; what was reserved is returned with the end of this claim.
            _log.warning("a call of %s is not settled: %s", bill.call.event_id, error)

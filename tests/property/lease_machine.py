"""What can happen to every kind of owed work, in any order: deaths, zombies, sweeps, time that jumps. Each kind adds
its own claims and ends.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain.errors import LeaseLost
from tests.builders import an_id
from tests.contracts.store_rig import Process
from tests.property.lease_model import HELD, Hand, LeaseModel, ModelRow
from tests.property.lease_stage import Stage

MOST_ALIVE = 4
any_number = st.integers(0, 1_000)


def in_hand(kind: str) -> Any:
    """For rules that act on a claim of this kind."""
    return precondition(lambda self: any(hand.kind == kind for hand in self.hands))


class LeaseMachine(RuleBasedStateMachine):
    """Subclasses say what is owed and on which store. Hands are never thrown away: an old one is a zombie's."""

    @abstractmethod
    def make_stage(self, mark: str) -> Stage:
        """A store of this example's own."""

    def __init__(self) -> None:
        super().__init__()
        self.mark = an_id("m-")
        self.stage = self.make_stage(self.mark)
        self.model = LeaseModel()
        self.workers: list[Process] = []
        self.hands: list[Hand] = []

    def teardown(self) -> None:
        self.stage.close()

    # --- who is there

    @initialize()
    def begin(self) -> None:
        self.hire()
        self.ask()

    @abstractmethod
    def ask(self) -> None:
        """Something more is owed."""

    @precondition(lambda self: len(self.model.alive) < MOST_ALIVE)
    @rule()
    def hire(self) -> None:
        worker = self.stage.process()
        worker.presence.start()
        self.model.alive.add(worker.owner)
        self.workers.append(worker)

    @rule(which=any_number)
    def kill(self, which: int) -> None:
        """Its lock is gone; what it had in hand may still arrive, as from a process behind a broken line."""
        worker = self._worker(which)
        worker.die()
        self.model.alive.discard(worker.owner)

    def _worker(self, which: int) -> Process:
        return self.workers[which % len(self.workers)]

    # --- for the rules of each kind

    def _row(self, kind: str, which: int) -> ModelRow:
        """A row to ring for; most times one that can be claimed, where there is one. Rings come twice and late too."""
        rows = self.model.of(kind)
        free = [row for row in rows if self.model.may_be_claimed(row)]
        some = free if free and which % 4 else rows
        return some[which % len(some)]

    def _hand(self, kind: str, which: int) -> tuple[Hand, Process]:
        """One to act with; half the time one that is still good, where there is one."""
        hands = [hand for hand in self.hands if hand.kind == kind]
        good = max(hands, key=lambda hand: self.model.holds(hand))
        hand = good if which % 2 else hands[which % len(hands)]
        return hand, next(worker for worker in self.workers if worker.owner == hand.owner)

    def _bring(self, hand: Hand, act: Callable[[], object]) -> None:
        """Do it; the store must refuse exactly what the model calls a zombie's."""
        ours = self.model.holds(hand)
        try:
            act()
        except LeaseLost:
            assert not ours
        else:
            assert ours

    # --- time, heartbeats, sweeps

    @rule(seconds=st.sampled_from((70, 310, 640)))
    def time_passes(self, seconds: float) -> None:
        self.stage.rig.pass_time(seconds)
        self.model.now += seconds

    @rule()
    def sweep(self) -> None:
        assert _freed(self.stage.rig.sweep()) == _freed(self.model.sweep())

    @rule(which=any_number)
    def a_worker_dies_and_the_sweep_comes(self, which: int) -> None:
        self.kill(which)
        self.sweep()
        # Whom it struck may have been dead before: every one alive has a connection, and of those there are twenty.
        if len(self.model.alive) < MOST_ALIVE:
            self.hire()

    # --- what holds after every step

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        for kind in HELD:
            ours = {row.key: row for row in self.model.of(kind)}
            found = self.stage.look(kind)
            assert found.keys() == ours.keys(), "a row was lost or came from nowhere"
            for key, row in ours.items():
                seen = found[key]
                assert (seen.state, seen.attempts, seen.failures, seen.deaths, seen.runs, seen.owner) == (
                    row.state, row.attempts, row.failures, row.deaths, row.runs, row.owner
                ), key  # fmt: skip


def _freed(rows: dict[str, int]) -> dict[str, int]:
    """The kinds of work of which something was freed."""
    return {kind: number for kind, number in rows.items() if number}

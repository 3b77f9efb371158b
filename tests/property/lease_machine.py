"""Everything that can happen to owed work, in any order: claims, ends, deaths, zombies, sweeps, time that jumps."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain.errors import LeaseLost
from app.domain.events import ENDS_A_TURN, EventType, NewEvent
from app.domain.memory import Place
from app.domain.ports import Sent
from tests.builders import a_final, a_message, a_receipt, an_id
from tests.contracts.store_rig import Process
from tests.property.lease_model import HELD, Hand, LeaseModel
from tests.property.lease_stage import Stage

MOST = 100
MOST_ALIVE = 4
_any = st.integers(0, 1_000)
_ENDS = {kind.value for kind in ENDS_A_TURN}


class LeaseMachine(RuleBasedStateMachine):
    """Subclasses say on which store. Hands are never thrown away: using an old one is what a zombie does."""

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
        try:
            self.the_end_of_every_turn_stands_in_the_sessions_order()
        finally:
            self.stage.close()

    # --- who is there

    @initialize()
    def begin(self) -> None:
        self.hire()
        self.accept(0)

    @precondition(lambda self: len(self.model.alive) < MOST_ALIVE)
    @rule()
    def hire(self) -> None:
        worker = self.stage.process()
        worker.presence.start()
        self.model.alive.add(worker.owner)
        self.workers.append(worker)

    @rule(which=_any)
    def kill(self, which: int) -> None:
        """Its lock is gone; what it had in hand may still arrive, as from a process behind a broken line."""
        worker = self._worker(which)
        worker.die()
        self.model.alive.discard(worker.owner)

    def _worker(self, which: int) -> Process:
        return self.workers[which % len(self.workers)]

    # --- what comes in

    @rule(session=st.integers(0, 1))
    def accept(self, session: int) -> None:
        message = a_message(session_id=f"{self.mark}-{session}")
        self.stage.rig.inbox.accept(message, None)
        self.model.add("turn", message.event_id, message.session_id)
        self.model.add("memory", message.event_id)

    @rule(session=st.integers(0, 1), paused=st.booleans())
    def hold_the_session(self, session: int, paused: bool) -> None:
        name = f"{self.mark}-{session}"
        if any(row.session == name for row in self.model.of("turn")):
            self.stage.rig.change_session(name, paused)
            (self.model.paused.add if paused else self.model.paused.discard)(name)

    # --- claims

    @rule(which=_any, ring=_any)
    def ring_for_a_turn(self, which: int, ring: int) -> None:
        """Rings come twice, late and for what is long done."""
        worker, row = self._worker(which), self.model.of("turn")[ring % len(self.model.of("turn"))]
        may = self.model.may_be_claimed(row)
        turn = worker.turns.claim(row.key)
        taken = may and self.model.take("turn", row.key, worker.owner)
        assert (turn is not None) == taken
        if turn is not None:
            assert (turn.lease_owner, turn.attempts) == (worker.owner, row.attempts)
            self.hands.append(Hand("turn", row.key, worker.owner, turn.attempts, turn))

    @rule(which=_any, limit=st.sampled_from((1, MOST)))
    def claim_memories(self, which: int, limit: int) -> None:
        worker = self._worker(which)
        found = {item.memory.event_id: item for item in worker.memories.claim_due(limit)}
        self._claimed("memory", worker, limit, found)

    @rule(which=_any, limit=st.sampled_from((1, MOST)))
    def claim_records(self, which: int, limit: int) -> None:
        worker = self._worker(which)
        found = {item.record.dedupe_key: item for item in worker.records.claim_due(limit)}
        self._claimed("record", worker, limit, found)

    def _claimed(self, kind: str, worker: Process, limit: int, found: dict[str, Any]) -> None:
        free = {row.key: row.run_at for row in self.model.of(kind) if self.model.may_be_claimed(row)}
        after = self.stage.look(kind)
        taken = found.keys() | {key for key in free if after[key].state == "dead"}
        one_of, all_of = self.model.expected_claim(kind)
        assert taken <= free.keys()
        if limit == 1:
            assert len(taken) == min(1, len(free))
            assert all(free[key] == min(free.values()) for key in taken)
        elif one_of:
            assert len(taken) == 1
            assert taken <= one_of
        else:
            assert taken == all_of
        for key in taken:
            assert self.model.take(kind, key, worker.owner) == (key in found)
        for key, item in found.items():
            self.hands.append(Hand(kind, key, worker.owner, item.lease.attempts, item))

    # --- ends of claims; the hand may be a zombie's

    def _hand(self, kind: str, which: int) -> tuple[Hand, Process] | None:
        """Half the time one that is still good, where there is one."""
        hands = [hand for hand in self.hands if hand.kind == kind]
        if not hands:
            return None
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

    @rule(which=_any, failed=st.booleans(), remembered=st.booleans())
    def finish_a_turn(self, which: int, failed: bool, remembered: bool) -> None:
        if (found := self._hand("turn", which)) is None:
            return
        hand, worker = found
        turn: Any = hand.thing
        end = a_final(hand.key)
        if failed:
            end = NewEvent(f"{hand.key}:answer", EventType.ERROR, "assistant", "", {"reason": "no"})
        place = Place("t1", "wm", "") if remembered else None
        ours = self.model.holds(hand)
        self._bring(hand, lambda: worker.turns.finish(turn, end, "failed" if failed else "done", place))
        self.model.settle([hand], "failed" if failed else "done")
        if ours and remembered:
            self.model.add("memory", f"{hand.key}:answer")

    @rule(which=_any, pause=st.sampled_from((100, 500)))
    def postpone_a_turn(self, which: int, pause: float) -> None:
        if found := self._hand("turn", which):
            hand, worker = found
            turn: Any = hand.thing
            worker.turns.postpone(turn, pause, "the model is away")
            self.model.give_back([hand], pause)

    @rule(which=_any)
    def the_turns_own_process_dies(self, which: int) -> None:
        if found := self._hand("turn", which):
            hand, worker = found
            turn: Any = hand.thing
            worker.turns.lose(turn, "killed")
            self.model.lose(hand)

    @rule(which=_any)
    def a_worker_lives_and_lost_its_turn(self, which: int) -> None:
        if found := self._hand("turn", which):
            hand, worker = found
            turn: Any = hand.thing
            worker.turns.survived(turn)
            self.model.survive([hand])

    @rule(which=_any)
    def keep_partial_text(self, which: int) -> None:
        if found := self._hand("turn", which):
            hand, worker = found
            turn: Any = hand.thing
            self._bring(hand, lambda: worker.turns.save_partial(turn, "so far"))

    @rule(kind=st.sampled_from(("memory", "record")), which=_any, how=st.sampled_from(("done", "bury", "release")))
    def end_a_delivery(self, kind: str, which: int, how: str) -> None:
        if (found := self._hand(kind, which)) is None:
            return
        hand, worker = found
        box, item = self._box(kind, worker), hand.thing
        if how == "bury":
            box.bury(item, "wrong for ever")
            self.model.settle([hand], "dead")
        elif how == "release":
            box.release([item])
            self.model.give_back([hand])
        elif kind == "memory":
            ours = self.model.settle([hand], "synced")
            assert box.synced([(item, a_receipt())]) == ours
            for key in ours:
                self.model.add("record", f"{key}:1")
        else:
            box.sent([(item, Sent(0, 1))])
            self.model.settle([hand], "sent")

    @rule(kind=st.sampled_from(("memory", "record")), outage=st.booleans(), pause=st.sampled_from((100, 500)))
    def the_peer_is_away(self, kind: str, outage: bool, pause: float) -> None:
        """The newest owner gives back everything it ever claimed; only what is still its own counts."""
        if found := self._hand(kind, -1):
            hand, worker = found
            mine = [each for each in self.hands if each.kind == kind and each.owner == hand.owner]
            self._box(kind, worker).postpone([each.thing for each in mine], pause, "away", outage=outage)
            self.model.give_back(mine, pause, outage)

    def _box(self, kind: str, worker: Process) -> Any:
        return worker.memories if kind == "memory" else worker.records

    @rule(which=_any)
    def the_peer_is_back(self, which: int) -> None:
        assert self._worker(which).memories.wake() == self.model.wake()

    # --- time, heartbeats, sweeps

    @rule(seconds=st.sampled_from((70, 310, 640)))
    def time_passes(self, seconds: float) -> None:
        self.stage.rig.pass_time(seconds)
        self.model.now += seconds

    @rule(which=_any)
    def a_worker_freezes_and_claims_again(self, which: int) -> None:
        """Past its lease; from now on some of its own hands are those of a zombie."""
        self.time_passes(310)
        for row in self.model.of("turn")[-2:]:
            self.ring_for_a_turn(which, self.model.of("turn").index(row))
        self.claim_memories(which, MOST)
        self.claim_records(which, MOST)

    @rule(which=_any, forgets=st.booleans())
    def a_heart_beats(self, which: int, forgets: bool) -> None:
        worker = self._worker(which)
        held = {row.key for row in self.model.of("turn") if row.owner == worker.owner}
        working = set() if forgets else held
        self.stage.beat(worker, sorted(working))
        self.model.beat(worker.owner, working)

    @rule()
    def sweep(self) -> None:
        assert self.stage.rig.sweep() == {"tool_call": 0} | self.model.sweep()

    @rule(which=_any)
    def a_worker_dies_and_the_sweep_comes(self, which: int) -> None:
        self.kill(which)
        self.sweep()
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
                assert (seen.state, seen.attempts, seen.failures, seen.deaths, seen.owner) == (
                    row.state, row.attempts, row.failures, row.deaths, row.owner
                ), key  # fmt: skip

    @invariant()
    def a_session_runs_one_turn_at_a_time_and_in_order(self) -> None:
        for name in (f"{self.mark}-0", f"{self.mark}-1"):
            states = [row.state for row in self.model.of("turn") if row.session == name]
            owed = [state for state in states if state in ("queued", "running")]
            assert states[len(states) - len(owed) :] == owed, "a turn ended before an earlier one"
            assert "running" not in owed[1:]

    def the_end_of_every_turn_stands_in_the_sessions_order(self) -> None:
        for name in (f"{self.mark}-0", f"{self.mark}-1"):
            ends = [
                event["event_id"].rpartition(":")[0]
                for event in self.stage.rig.stream.events_after(name, 0, 1000)
                if event["type"] in _ENDS
            ]
            turns = [row for row in self.model.of("turn") if row.session == name and not row.is_owed]
            assert ends == [row.key for row in sorted(turns, key=lambda row: row.number)]

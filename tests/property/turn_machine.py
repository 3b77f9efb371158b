"""Turns: one at a time and in order within a session, whoever dies, and none goes on before the calls that it asked for
have ended; the deliveries that they owe are left alone.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from app.domain.errors import LeaseLost
from app.domain.events import ENDS_A_TURN, EventType, NewEvent
from app.domain.memory import Place
from app.domain.tools import ToolEnd, ToolStatus, end_before_run, result_event
from tests.builders import a_final, a_message, a_step
from tests.contracts.store_rig import Process
from tests.property.lease_machine import LeaseMachine, any_number, in_hand
from tests.property.lease_model import Hand

_ENDS = {kind.value for kind in ENDS_A_TURN}


class TurnMachine(LeaseMachine):
    """Two sessions, their turns, and the conversation workers."""

    @rule(session=st.integers(0, 1))
    def ask(self, session: int = 0) -> None:
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

    @rule(which=any_number, ring=any_number)
    def ring(self, which: int, ring: int) -> None:
        worker, row = self._worker(which), self._row("turn", ring)
        may = self.model.may_be_claimed(row)
        turn = worker.turns.claim(row.key)
        taken = may and self.model.take("turn", row.key, worker.owner)
        assert (turn is not None) == taken
        if turn is not None:
            assert (turn.lease_owner, turn.attempts, turn.steps) == (worker.owner, row.attempts, row.steps)
            brought = {key for taken in worker.turns.steps(turn) for key in taken.results}
            assert brought == {call.key for call in self.model.of("tool_call") if call.turn == row.key}
            self.hands.append(Hand("turn", row.key, worker.owner, turn.attempts, turn))

    @in_hand("turn")
    @rule(which=any_number, failed=st.booleans(), remembered=st.booleans())
    def finish_a_turn(self, which: int, failed: bool, remembered: bool) -> None:
        hand, worker = self._hand("turn", which)
        turn: Any = hand.thing
        end = a_final(hand.key)
        if failed:
            end = NewEvent(f"{hand.key}:answer", EventType.ERROR, "assistant", "", {"reason": "no"})
        place = Place("t1", "wm", "") if remembered else None
        state = "failed" if failed else "done"
        self._bring(hand, lambda: worker.turns.finish(turn, end, state, place))
        if self.model.finish(hand, state) and remembered:
            self.model.add("memory", f"{hand.key}:answer")

    @rule(which=any_number, ring=any_number, calls=st.integers(0, 2))
    def claim_and_take_a_step(self, which: int, ring: int, calls: int) -> None:
        before = len(self.hands)
        self.ring(which, ring)
        if len(self.hands) > before:
            self._take_step(self.hands[-1], self._worker(which), calls)

    @in_hand("turn")
    @rule(which=any_number, calls=st.integers(0, 2))
    def take_a_step(self, which: int, calls: int) -> None:
        self._take_step(*self._hand("turn", which), calls)

    def _take_step(self, hand: Hand, worker: Process, calls: int) -> None:
        turn: Any = hand.thing
        plan = a_step(turn, calls)
        ours = self.model.holds(hand)
        self._bring(hand, lambda: worker.turns.take_step(turn, plan))
        if ours:
            self.model.take_step(hand, [call.call_id for call in plan.calls])

    @precondition(lambda self: self.model.of("tool_call"))
    @rule(which=any_number, ring=any_number)
    def ring_for_a_call(self, which: int, ring: int) -> None:
        worker, row = self._worker(which), self._row("tool_call", ring)
        may = self.model.may_be_claimed(row)
        call = worker.calls.claim(row.key)
        assert (call is not None) == (may and self.model.take("tool_call", row.key, worker.owner))
        if call is not None:
            assert call.turn_event_id == row.turn
            self.hands.append(Hand("tool_call", row.key, worker.owner, call.attempts, call))

    @in_hand("tool_call")
    @rule(which=any_number)
    def finish_a_call(self, which: int) -> None:
        self._end_call(*self._hand("tool_call", which))

    def _end_call(self, hand: Hand, worker: Process) -> None:
        call: Any = hand.thing
        end = end_before_run(call) or ToolEnd("succeeded", ToolStatus.SUCCESS, {"text": "hi"})
        self._bring(hand, lambda: worker.calls.finish(call, result_event(call, end, "{}"), end, None))
        self.model.finish(hand, end.state)

    @precondition(lambda self: self.model.of("tool_call"))
    @rule(which=any_number)
    def run_the_calls_of_a_turn(self, which: int) -> None:
        for _ in range(2):
            before = len(self.hands)
            self.ring_for_a_call(which, 1)
            if len(self.hands) > before:
                self._end_call(self.hands[-1], self._worker(which))

    @precondition(lambda self: len(self.hands) > 1)
    @rule(session=st.integers(0, 1))
    def stop_an_answer(self, session: int) -> None:
        name = f"{self.mark}-{session}"
        self.stage.rig.control.cancel(name, None)
        self.model.stop(name)

    @in_hand("turn")
    @rule(which=any_number, pause=st.sampled_from((100, 500)))
    def postpone_a_turn(self, which: int, pause: float) -> None:
        hand, worker = self._hand("turn", which)
        turn: Any = hand.thing
        worker.turns.postpone(turn, pause, "the model is away")
        self.model.give_back([hand], pause)

    @in_hand("turn")
    @rule(which=any_number, pause=st.sampled_from((100, 500)))
    def nobody_decides_about_a_turn(self, which: int, pause: float) -> None:
        hand, worker = self._hand("turn", which)
        turn: Any = hand.thing
        worker.turns.wait(turn, pause, "nobody decides")
        self.model.wait([hand], pause)

    @in_hand("turn")
    @rule(which=any_number)
    def the_turns_own_process_dies(self, which: int) -> None:
        hand, worker = self._hand("turn", which)
        turn: Any = hand.thing
        worker.turns.lose(turn, "killed")
        self.model.lose(hand)

    @in_hand("turn")
    @rule(which=any_number)
    def a_worker_lives_and_lost_its_turn(self, which: int) -> None:
        hand, worker = self._hand("turn", which)
        turn: Any = hand.thing
        worker.turns.survived(turn)
        self.model.survive([hand])

    @in_hand("turn")
    @rule(which=any_number)
    def keep_partial_text(self, which: int) -> None:
        hand, worker = self._hand("turn", which)
        turn: Any = hand.thing
        self._bring(hand, lambda: self._write(worker, turn))

    def _write(self, worker: Any, turn: Any) -> None:
        if turn.event_id in worker.turns.save_partials([(turn, "so far")]).lost:
            raise LeaseLost("the turn belongs to another attempt")

    @rule(which=any_number)
    def a_worker_freezes_and_claims_again(self, which: int) -> None:
        """Past its lease; from now on one of its own hands is that of a zombie."""
        self.time_passes(310)
        self.ring(which, 1)

    @rule(which=any_number, forgets=st.booleans())
    def a_heart_beats(self, which: int, forgets: bool) -> None:
        worker = self._worker(which)
        held = {row.key for row in self.model.of("turn") if row.owner == worker.owner}
        working = set() if forgets else held
        self.stage.beat(worker, sorted(working))
        self.model.beat(worker.owner, working)

    def teardown(self) -> None:
        try:
            self.the_end_of_every_turn_stands_in_the_sessions_order()
        finally:
            super().teardown()

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

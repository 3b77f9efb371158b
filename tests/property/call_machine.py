"""Tool calls: of one that writes, at most one run ever begins, whoever dies."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from app.domain.memory import Place
from app.domain.tools import Effect, ToolEnd, ToolStatus, end_before_run, result_event, start_event
from tests.builders import a_tool_request
from tests.property.lease_machine import LeaseMachine, any_number, in_hand
from tests.property.lease_model import Hand

_DONE = ToolEnd("succeeded", ToolStatus.SUCCESS, {"text": "hi"}, 0.25)
_effects = st.sampled_from((Effect.WRITE, Effect.WRITE, Effect.READ))


class CallMachine(LeaseMachine):
    """A worker claims a call, says that it begins, and ends it or gives it back, as `run_tool` does."""

    def __init__(self) -> None:
        super().__init__()
        self.effects: dict[str, Effect] = {}
        self.begun: list[Hand] = []

    @rule(effect=_effects)
    def ask(self, effect: Effect = Effect.WRITE) -> None:
        request = a_tool_request(effect, session_id=f"{self.mark}-0")
        self.stage.rig.tools.accept(request, None)
        self.model.add("tool_call", request.call_id, request.session_id)
        self.effects[request.call_id] = effect

    @rule(which=any_number, ring=any_number)
    def ring(self, which: int, ring: int) -> None:
        worker, row = self._worker(which), self._row("tool_call", ring)
        may = self.model.may_be_claimed(row)
        call = worker.calls.claim(row.key)
        taken = may and self.model.take("tool_call", row.key, worker.owner)
        assert (call is not None) == taken
        if call is not None:
            assert (call.lease_owner, call.attempts, call.runs) == (worker.owner, row.attempts, row.runs)
            self.hands.append(Hand("tool_call", row.key, worker.owner, call.attempts, call))

    @in_hand("tool_call")
    @rule(which=any_number)
    def begin_a_tool(self, which: int) -> None:
        hand, worker = self._hand("tool_call", which)
        call: Any = hand.thing
        if hand not in self.begun and end_before_run(call) is None:
            ours = self.model.holds(hand)
            self._bring(hand, lambda: worker.calls.note(call, start_event(call)))
            self.begun += [hand] * ours

    @in_hand("tool_call")
    @rule(which=any_number, remembered=st.booleans())
    def finish_a_call(self, which: int, remembered: bool) -> None:
        hand, worker = self._hand("tool_call", which)
        call: Any = hand.thing
        end = end_before_run(call) or _DONE
        event = result_event(call, end, "{}")
        self._bring(hand, lambda: worker.calls.finish(call, event, end, Place("t1", "wm", "") if remembered else None))
        if self.model.finish(hand, end.state) and remembered:
            self.model.add("memory", event.event_id)

    @in_hand("tool_call")
    @rule(which=any_number)
    def give_a_call_back(self, which: int) -> None:
        hand, worker = self._hand("tool_call", which)
        call: Any = hand.thing
        worker.calls.give_back(call, hand in self.begun)
        self.model.give_back([hand], run=hand in self.begun)

    @in_hand("tool_call")
    @rule(which=any_number, pause=st.sampled_from((100, 500)))
    def postpone_a_call(self, which: int, pause: float) -> None:
        hand, worker = self._hand("tool_call", which)
        call: Any = hand.thing
        worker.calls.postpone(call, pause, "its process broke")
        self.model.give_back([hand], pause)

    @in_hand("tool_call")
    @rule(which=any_number, pause=st.sampled_from((100, 500)))
    def nobody_decides_about_a_call(self, which: int, pause: float) -> None:
        hand, worker = self._hand("tool_call", which)
        call: Any = hand.thing
        if hand not in self.begun:
            worker.calls.wait(call, pause, "nobody decides")
            self.model.wait([hand], pause)

    @in_hand("tool_call")
    @rule(which=any_number)
    def a_worker_lives_and_lost_its_call(self, which: int) -> None:
        hand, worker = self._hand("tool_call", which)
        call: Any = hand.thing
        worker.calls.survived(call)
        self.model.survive([hand])

    @invariant()
    def what_writes_begins_at_most_once(self) -> None:
        begins = Counter(hand.key for hand in self.begun)
        assert all(times == 1 for key, times in begins.items() if self.effects[key] is Effect.WRITE)

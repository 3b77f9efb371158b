"""Memories and records: offered until they are kept, each record owed by the memory that was."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.domain.ports import Sent
from tests.builders import a_message, a_receipt
from tests.contracts.store_rig import Process
from tests.property.lease_machine import LeaseMachine, any_number
from tests.property.lease_model import Hand

MOST = 100


class DeliveryMachine(LeaseMachine):
    """Both outboxes and the workers that drain them; the turns are left alone."""

    @rule()
    def ask(self) -> None:
        message = a_message(session_id=f"{self.mark}-0")
        self.stage.rig.inbox.accept(message, None)
        self.model.add("turn", message.event_id, message.session_id)
        self.model.add("memory", message.event_id)

    @rule(which=any_number, limit=st.sampled_from((1, MOST)))
    def claim_memories(self, which: int, limit: int) -> None:
        worker = self._worker(which)
        found = {item.memory.event_id: item for item in worker.memories.claim_due(limit)}
        self._claimed("memory", worker, limit, found)

    @rule(which=any_number, limit=st.sampled_from((1, MOST)))
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

    @precondition(lambda self: self.hands)
    @rule(which=any_number, how=st.sampled_from(("done", "bury", "release")))
    def end_a_delivery(self, which: int, how: str) -> None:
        kind = self._kind_in_hand(which)
        hand, worker = self._hand(kind, which)
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

    @precondition(lambda self: self.hands)
    @rule(which=any_number, outage=st.booleans(), pause=st.sampled_from((100, 500)))
    def the_peer_is_away(self, which: int, outage: bool, pause: float) -> None:
        """An owner gives back everything it ever claimed; only what is still its own counts."""
        kind = self._kind_in_hand(which)
        hand, worker = self._hand(kind, which)
        mine = [each for each in self.hands if each.kind == kind and each.owner == hand.owner]
        self._box(kind, worker).postpone([each.thing for each in mine], pause, "away", outage=outage)
        self.model.give_back(mine, pause, outage)

    def _kind_in_hand(self, which: int) -> str:
        return self.hands[which % len(self.hands)].kind

    def _box(self, kind: str, worker: Process) -> Any:
        return worker.memories if kind == "memory" else worker.records

    @rule(which=any_number)
    def the_peer_is_back(self, which: int) -> None:
        assert self._worker(which).memories.wake() == self.model.wake()

    @rule(which=any_number)
    def a_worker_freezes_and_claims_again(self, which: int) -> None:
        """Past its lease; from now on some of its own hands are those of a zombie."""
        self.time_passes(310)
        self.claim_memories(which, MOST)
        self.claim_records(which, MOST)

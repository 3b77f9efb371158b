"""One turn, from the claim to its end: answered once, or ended with a sentence, whatever the model does."""

from collections.abc import Callable

import pytest

from app.domain.budgets import BudgetName, Dimension
from app.domain.conversation import Turn
from app.domain.dialogue import Usage
from app.domain.errors import ModelRefused, ModelUnavailable, ProcessDied, StoreUnavailable
from app.domain.events import EventType
from app.domain.leases import ALONE_AFTER_DEATHS, MAX_ATTEMPTS, MAX_CLAIMS
from app.domain.profiles import Profile, ProfileRole
from app.routing import TaskName
from app.services.bring_memories import Reminder
from app.services.conversation import Conversation, Meter
from app.services.converse import MAX_MODEL_FAILURES, converse
from app.services.prepare_turn import Preparation
from app.services.recall_memories import Recalled
from app.services.spend import Paying, Purse, free_of_charge
from tests.builders import a_message
from tests.fakes import (
    BreaksOff,
    InMemoryStore,
    RecordingBroadcast,
    RecordingDoorbell,
    RecordingNotes,
    ScriptedModel,
    ScriptedPolicy,
    WishedStops,
)
from tests.fakes_budgets import InMemoryBudgets
from tests.fakes_parts import FixedRoster, PromptScribe, Ring, Step, always_in_company
from tests.fakes_store import InMemoryTurns

AWAY = ModelUnavailable("The model's endpoint could not be reached.")


class Stage:
    """A store with one message, and a worker whose model follows a script."""

    def __init__(self, *scripts: list[Step], memories: tuple[str, str] | None = ("u-0", "wm")) -> None:
        self.store = InMemoryStore()
        self.clock = self.store.clock
        self.message = a_message("hello", "s-1", metadata={"universe_id": "u-1"}, traceparent="00-aa-bb-01")
        self.store.inbox().accept(self.message, None)
        self.turns = self.store.turns(self.store.presence("worker"))
        self.model = ScriptedModel(*(scripts or (["hi"],)))
        self.broadcast, self.doorbell, self.notes = RecordingBroadcast(), RecordingDoorbell(), RecordingNotes()
        self.memories = memories
        self.present = True
        self.stops = WishedStops()
        self.policy = ScriptedPolicy()
        self.reminder: Reminder | None = None
        self.roster = FixedRoster()
        self.alone: Callable[[Turn], str] = always_in_company
        self.first_pieces: list[float] = []
        self.spent: list[Usage] = []
        self.paying: Paying = free_of_charge

    def kill_workers(self, number: int) -> None:
        """So many workers die with the message."""
        for each in range(number):
            self.store.turns(self.store.presence(f"victim {each}")).claim(self.message.event_id)
            self.store.end_leases_of_the_dead()

    def run(self, event_id: str = "", turns: InMemoryTurns | None = None) -> str:
        conversation = Conversation(
            turns or self.turns,
            self.model,
            self.broadcast,
            self.doorbell,
            self.clock,
            self.notes,
            Preparation(self.roster, self.store.transcripts(), "be kind", self.reminder),
            self.memories,
            self.alone,
            self.stops,
            self.policy,
            PromptScribe(turns or self.turns),
            lambda: self.present,
            meter=Meter(self.first_pieces.append, self.spent.append),
            paying=self.paying,
        )
        return converse(event_id or self.message.event_id, conversation)

    @property
    def types(self) -> list[str]:
        return [event.type.value for event in self.store.events["s-1"]]

    @property
    def state(self) -> str:
        return self.store.turn_rows.rows[self.message.event_id].state

    @property
    def last(self) -> dict[str, object]:
        return self.store.stream_store().events_after("s-1", 0, 100)[-1]


def test_a_message_is_answered_once_with_everything_that_belongs_to_it() -> None:
    stage = Stage(["Once ", "upon"])

    assert stage.run() == "done"
    assert stage.run() == "nothing to do"

    assert stage.types == ["user", "assistant.started", "assistant.thinking", "assistant.final"]
    assert stage.last["message"] == "Once upon"
    assert stage.last["metadata"] == {
        "status": "completed", "source": "scripted", "attempt": 1, "usage": {"input_tokens": 7, "output_tokens": 9},
        "finish": "stop",
    }  # fmt: skip
    memory = stage.store.memory_rows.rows[f"{stage.message.event_id}:answer"].thing
    assert (memory.place.universe, memory.place.namespace, memory.role) == ("u-1", "wm", "assistant")
    assert TaskName.SYNC_MEMORIES in stage.doorbell.tasks
    assert stage.notes.last["model"] == "ok"


def test_the_first_piece_and_the_tokens_are_counted_once_per_answer() -> None:
    stage = Stage(["Once ", "upon"])

    stage.run()

    assert len(stage.first_pieces) == 1
    assert stage.first_pieces[0] >= 0
    assert stage.spent == [Usage(7, 9)]


def test_the_model_hears_who_it_is_and_what_was_said() -> None:
    stage = Stage(["first answer"])
    stage.run()
    again = a_message("and now?", "s-1")
    stage.store.inbox().accept(again, None)

    stage.run(again.event_id)

    assert [(line.role, line.content) for line in stage.model.asked[1]] == [
        ("system", "be kind"), ("user", "hello"), ("assistant", "first answer"), ("user", "and now?")
    ]  # fmt: skip


def test_what_recall_brought_is_shown_before_the_answer() -> None:
    stage = Stage(["hi"])
    stage.reminder = Reminder(lambda _question: Recalled([], degraded=True), lambda _ids: (), "u-0", "wm")

    assert stage.run() == "done"

    assert stage.types == ["user", "assistant.started", "assistant.thinking", "context.update", "assistant.final"]
    (shown,) = stage.broadcast.of("s-1", EventType.CONTEXT)
    assert shown["metadata"] == {"results": [], "degraded": True}


def test_a_conversation_that_no_longer_fits_is_to_be_summarized() -> None:
    stage = Stage(["word " * 1500], ["hi"])
    stage.run()
    assert TaskName.SUMMARIZE not in stage.doorbell.tasks
    for _ in range(2):
        again = a_message("and now? " * 300, "s-1")
        stage.store.inbox().accept(again, None)
        stage.run(again.event_id)

    assert Ring(TaskName.SUMMARIZE, ("s-1", "t1")) in stage.doorbell.rings


def test_pieces_are_shown_with_their_place_in_the_answer() -> None:
    stage = Stage(["Once ", "upon"])
    stage.run()

    pieces = stage.broadcast.of("s-1", EventType.DELTA)

    assert [(p["message"], p["metadata"]["offset"], p["metadata"]["attempt"], p["after"]) for p in pieces] == [
        ("Once ", 0, 1, 3), ("upon", 5, 1, 3)
    ]  # fmt: skip


def test_what_is_shown_live_is_what_is_kept() -> None:
    stage = Stage()
    stage.run()

    shown = [item for item in stage.broadcast.shown["s-1"] if item.get("seq")]

    assert shown == stage.store.stream_store().events_after("s-1", 2, 100)


def test_a_turn_that_is_not_due_is_nothing_to_do() -> None:
    stage = Stage()
    second = a_message("two", "s-1")
    stage.store.inbox().accept(second, None)

    assert stage.run(second.event_id) == "nothing to do"
    assert stage.run("unknown") == "nothing to do"


def test_the_end_of_a_turn_rings_for_the_next_of_its_session() -> None:
    stage = Stage()
    second = a_message("two", "s-1")
    stage.store.inbox().accept(second, None)

    stage.run()

    assert Ring(TaskName.RESPOND, (second.event_id,)) in stage.doorbell.rings


def test_a_model_that_is_away_is_asked_again_later() -> None:
    stage = Stage([AWAY], ["hi"])

    assert stage.run() == "postponed"
    assert stage.run() == "nothing to do"
    assert stage.notes.last["model"] == "down"
    stage.clock.advance(2)

    assert stage.run() == "done"
    assert stage.types.count("assistant.thinking") == 2
    assert stage.last["message"] == "hi"


def test_the_models_wish_for_a_pause_is_kept() -> None:
    stage = Stage([ModelUnavailable("The model's endpoint answered 429.", 40.0)], ["hi"])
    stage.run()
    stage.clock.advance(39)
    assert stage.run() == "nothing to do"

    stage.clock.advance(2)

    assert stage.run() == "done"


@pytest.mark.parametrize(
    "script",
    [[AWAY], ["Once ", AWAY], ["Once ", BreaksOff()], [BreaksOff()]],
    ids=["away at once", "away in the middle", "broken off in the middle", "broken off at once"],
)
def test_after_the_last_failure_the_turn_ends_with_a_sentence(script: list[Step]) -> None:
    stage = Stage(script)
    for _ in range(MAX_MODEL_FAILURES - 1):
        assert stage.run() == "postponed"
        stage.clock.advance(60)

    assert stage.run() == "failed"

    assert stage.types[-1] == "assistant.error"
    assert "again" in str(stage.last["metadata"])
    assert stage.state == "failed"
    assert f"{stage.message.event_id}:answer" not in stage.store.memory_rows.rows


def test_a_refusal_ends_the_turn_at_once() -> None:
    stage = Stage([ModelRefused("The model's endpoint refused the key; check LLM_API_KEY.")])

    assert stage.run() == "failed"

    assert stage.last["metadata"] == {"reason": "The model's endpoint refused the key; check LLM_API_KEY."}
    assert stage.notes.last["model"] == "degraded"


def test_a_message_with_which_two_workers_died_is_answered_in_a_process_of_its_own() -> None:
    stage = Stage([])
    stage.kill_workers(ALONE_AFTER_DEATHS)
    given: list[Turn] = []

    def elsewhere(turn: Turn) -> str:
        given.append(turn)
        return "done"

    stage.alone = elsewhere

    assert stage.run() == "done"

    assert [(turn.event_id, turn.deaths) for turn in given] == [(stage.message.event_id, ALONE_AFTER_DEATHS)]
    assert not stage.model.asked


def test_a_worker_that_nobody_can_see_yet_claims_nothing() -> None:
    stage = Stage([])
    stage.present = False

    assert stage.run() == "nothing to do"

    assert stage.state == "queued"


def test_one_death_is_no_reason_to_keep_a_message_apart() -> None:
    stage = Stage()
    stage.kill_workers(ALONE_AFTER_DEATHS - 1)

    assert stage.run() == "done"


def test_a_message_that_kills_its_own_process_again_and_again_is_set_aside() -> None:
    stage = Stage([])
    stage.kill_workers(ALONE_AFTER_DEATHS)

    def dies(_turn: Turn) -> str:
        raise ProcessDied("it ended by SIGSEGV")

    stage.alone = dies

    assert [stage.run() for _ in range(4)] == ["died", "died", "died", "nothing to do"]

    assert stage.state == "dead"
    assert Ring(TaskName.RESPOND, (stage.message.event_id,)) in stage.doorbell.rings
    assert stage.last["type"] == "assistant.error"


def test_an_outage_of_postgres_is_no_death() -> None:
    stage = Stage([])

    def gone() -> None:
        stage.store.down = True

    for _ in range(MAX_ATTEMPTS + 1):
        stage.model = ScriptedModel(["Once", gone])
        with pytest.raises(StoreUnavailable):
            stage.run()
        stage.store.down = False

    stage.model = ScriptedModel(["Once again"])
    assert stage.run() == "done"


def test_somebody_elses_turn_is_left_alone() -> None:
    stage = Stage([])
    other = stage.store.turns(stage.store.presence("other"))

    def overtaken() -> None:
        stage.clock.advance(31)
        turn = other.claim(stage.message.event_id)
        assert isinstance(turn, Turn)

    stage.model = ScriptedModel(["Once ", overtaken, "upon"])

    assert stage.run() == "lease lost"

    assert "assistant.final" not in stage.types
    assert stage.model.closed == 1


def test_a_stopped_answer_ends_at_once_keeps_what_was_said_and_the_model_call_ends_with_it() -> None:
    stage = Stage([])
    stage.model = ScriptedModel(["Once ", lambda: stage.stops.wish(stage.message.event_id), "upon ", "never said"])

    assert stage.run() == "cancelled"

    assert stage.types[-1] == "assistant.cancelled"
    assert stage.last["message"] == "Once "
    assert stage.last["metadata"] == {"reason": "You stopped this answer.", "attempt": 1}
    assert [item["message"] for item in stage.broadcast.of("s-1", EventType.DELTA)] == ["Once "]
    assert stage.model.closed == 1
    assert stage.notes.last.get("model") is None


def test_a_model_that_was_hung_up_on_because_somebody_stopped_it_is_no_outage() -> None:
    stage = Stage([])
    stage.model = ScriptedModel(["Once ", lambda: stage.stops.wish(stage.message.event_id), AWAY])

    assert stage.run() == "cancelled"

    assert stage.last["message"] == "Once "
    assert stage.notes.last.get("model") is None


def test_a_wish_that_comes_after_the_answer_changes_nothing() -> None:
    stage = Stage(["Once"])
    assert stage.run() == "done"

    stage.stops.wish(stage.message.event_id)

    assert stage.run() == "nothing to do"
    assert stage.types[-1] == "assistant.final"


def test_an_outage_of_postgres_in_the_middle_does_not_stop_the_answer() -> None:
    stage = Stage([])

    def switch(down: bool) -> None:
        stage.store.down = down
        stage.clock.advance(0.3)

    stage.model = ScriptedModel(["Once ", lambda: switch(True), "upon ", lambda: switch(False), "a time"])

    assert stage.run() == "done"
    assert stage.last["message"] == "Once upon a time"


def test_an_outage_at_the_end_is_waited_out() -> None:
    stage = Stage(["Once", lambda: setattr(stage.store, "down", True)])
    sleep = stage.clock.sleep

    def back_after_a_while(seconds: float) -> None:
        sleep(seconds)
        stage.store.down = stage.clock.monotonic() < 5

    stage.clock.sleep = back_after_a_while  # type: ignore[method-assign]

    assert stage.run() == "done"
    assert stage.types.count("assistant.thinking") == 1


def test_an_outage_at_the_end_leaves_the_turn_for_another_attempt() -> None:
    stage = Stage([])

    def gone() -> None:
        stage.store.down = True

    stage.model = ScriptedModel(["Once", gone], ["Once again"])
    with pytest.raises(StoreUnavailable):
        stage.run()
    stage.store.down = False
    stage.clock.advance(31)

    assert stage.run() == "done"
    assert stage.types.count("assistant.final") == 1


def test_without_memories_the_answer_is_not_remembered() -> None:
    stage = Stage(memories=None)
    stage.run()

    assert f"{stage.message.event_id}:answer" not in stage.store.memory_rows.rows


def test_a_lease_is_renewed_for_as_long_as_the_turn_is_worked_on() -> None:
    stage = Stage([])
    held: list[int] = []
    stage.model = ScriptedModel(["hi", lambda: held.append(stage.turns.presence.working[stage.message.event_id])])

    stage.run()

    assert held == [1]
    assert stage.turns.presence.working[stage.message.event_id] == 0


def test_a_turn_beyond_its_budget_ends_with_the_time_of_more_and_no_call() -> None:
    stage = Stage()
    budgets = InMemoryBudgets(stage.store, 100)
    stage.paying = Purse(budgets, stage.clock).paying

    assert stage.run() == "failed"

    assert not stage.model.calls
    assert stage.last["type"] == "assistant.error"
    metadata = stage.last["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["budget"] == {
        "dimension": "tenant", "limit": 100, "used": 0, "refills_at": "2026-01-02T00:00:00+00:00"
    }  # fmt: skip
    assert "refills on 2026-01-02 at 00:00 UTC" in metadata["reason"]


def test_an_answer_is_paid_for_before_the_turn_ends() -> None:
    stage = Stage(["hello"])
    budgets = InMemoryBudgets(stage.store, 1_000)
    stage.paying = Purse(budgets, stage.clock).paying

    assert stage.run() == "done"

    budget = budgets.budget(BudgetName("t1", Dimension.TENANT, "t1"))
    assert (budget.used, budget.reserved) == (7 + 5, 0)


def test_the_last_event_says_who_answered_a_hard_message_and_why() -> None:
    stage = Stage(["hi"])
    stage.roster = FixedRoster((Profile("strong", "http://strong.test/v1", role=ProfileRole.ESCALATION),))
    hard = a_message("a? b? c? d?", "s-2")
    stage.store.inbox().accept(hard, None)

    assert stage.run(hard.event_id) == "done"

    final = stage.store.events["s-2"][-1]
    assert final.metadata["escalation"] == {"profile": "strong", "reason": "it asks many questions at once"}


def test_the_policy_is_asked_who_wants_what() -> None:
    stage = Stage()

    stage.run()

    (question,) = stage.policy.asked
    assert question.as_json() == {
        "tenant": "t1", "persona_id": None, "action": "conversation.respond", "resource": "conversation",
        "context": {}, "scopes": [],
    }  # fmt: skip


def test_a_message_that_the_policy_does_not_allow_ends_with_that_and_no_model_is_asked() -> None:
    stage = Stage()
    stage.policy.says = False

    assert stage.run() == "denied"

    last = stage.store.events["s-1"][-1]
    reason = "The policy of this installation does not allow an answer to this message."
    assert (stage.types, stage.state) == (["user", "assistant.started", "policy.denied"], "failed")
    assert last.metadata["policy"] == {"action": "conversation.respond", "resource": "conversation", "reason": reason}
    assert (stage.model.calls, stage.spent, stage.run()) == ([], [], "nothing to do")
    assert stage.broadcast.shown["s-1"][-1]["type"] == "policy.denied"


def test_while_nobody_decides_a_message_waits_and_is_answered_later_however_long_that_takes() -> None:
    stage = Stage()
    stage.policy.says = None
    for _ in range(MAX_CLAIMS + 5):
        assert stage.run() == "undecided"
        assert stage.run() == "nothing to do"
        stage.clock.advance(12)
    assert (stage.types, stage.model.calls) == (["user", "assistant.started"], [])

    stage.policy.says = True

    assert stage.run() == "done"

"""The summary of what was said long ago: what it covers, what it leaves, and what happens when no model is there."""

import json

import pytest

from app.domain.audit import Actor
from app.domain.budgets import BudgetName, Dimension
from app.domain.errors import ModelUnavailable
from app.domain.profiles import Profile, ProfileRole
from app.domain.transcript import Summary
from app.services.spend import Purse
from app.services.summarize_session import Minutes, summarize_session
from tests.builders import a_final, a_message
from tests.fakes import InMemoryStore, ScriptedModel
from tests.fakes_budgets import InMemoryBudgets
from tests.fakes_parts import FixedRoster, Step

SMALL = Profile("small", "http://m/v1", context_tokens=1600, output_tokens=300)
LAST = 2**62
TENANT = BudgetName("t1", Dimension.TENANT, "t1")


class Stage:
    """A session with so many turns of about 120 tokens, and a model for 1,200 tokens."""

    def __init__(self, turns: int, *script: Step) -> None:
        self.store = InMemoryStore()
        self.model = ScriptedModel(script or ("They talked.",))
        self.roster = FixedRoster([SMALL])
        self.transcripts = self.store.transcripts()
        self.say(turns)

    def say(self, turns: int) -> None:
        worker = self.store.turns(self.store.presence("worker"))
        for number in range(turns):
            message = a_message(f"message {number} " + "m" * 150, "s-1")
            self.store.inbox().accept(message, None)
            turn = worker.claim(message.event_id)
            assert turn is not None
            worker.finish(turn, a_final(turn.event_id, f"answer {number} " + "a" * 150), "done", None)

        self.budgets = InMemoryBudgets(self.store, None)

    def run(self) -> str:
        purse = Purse(self.budgets, self.store.clock)
        return summarize_session("s-1", "t1", Minutes(self.transcripts, self.roster, self.model, purse.paying))

    @property
    def spent(self) -> int:
        return self.budgets.budget(TENANT).used

    @property
    def kept(self) -> Summary:
        found = self.transcripts.summary("s-1", LAST)
        assert found is not None
        return found


def test_a_short_conversation_needs_no_summary() -> None:
    stage = Stage(3)

    assert stage.run() == "nothing to do"
    assert not stage.model.asked


def test_the_newest_half_of_a_window_stays_out_of_the_summary_and_whole_turns_go_in() -> None:
    stage = Stage(9)

    assert stage.run() == "done"

    covered = [line.event_id for line in stage.transcripts.newest("s-1", stage.kept.to_turn, 100)]
    assert stage.kept.text == "They talked."
    assert list(stage.kept.event_ids) == covered
    assert 0 < len(covered) < 18
    assert len(covered) % 2 == 0
    assert [wish.role for wish in stage.roster.wishes] == [ProfileRole.UTILITY]


def test_a_summary_takes_the_place_of_the_one_before_and_names_only_what_it_added() -> None:
    stage = Stage(9, "first part")
    stage.run()
    first = stage.kept
    stage.say(9)
    stage.model = ScriptedModel(["both parts"])

    assert stage.run() == "done"

    assert stage.kept.text == "both parts"
    assert not set(first.event_ids) & set(stage.kept.event_ids)
    told = stage.model.asked[0][1].content.split("\n")
    assert json.loads(told[0]) == {"summary so far": "first part"}
    assert json.loads(told[1])["user"].startswith("message")


def test_what_is_summarized_fits_into_the_window_however_long_nobody_did() -> None:
    stage = Stage(120)

    rounds = 0
    while stage.run() == "done":
        rounds += 1
        assert sum(len(line.content) for line in stage.model.asked[-1]) < 1200 * 3 + 2000

    assert rounds > 5
    covered = [line.event_id for line in stage.transcripts.newest("s-1", stage.kept.to_turn, 1000)]
    assert len(covered) > 200
    assert set(covered) == {each for summary in stage.store.summaries.values() for each in summary.event_ids}


def test_without_a_model_nothing_is_kept_and_the_next_answer_tries_again() -> None:
    stage = Stage(9, ModelUnavailable("The model's endpoint could not be reached."))

    with pytest.raises(ModelUnavailable):
        stage.run()

    assert stage.transcripts.summary("s-1", LAST) is None


def test_a_summary_is_paid_once_like_an_answer() -> None:
    stage = Stage(9)

    assert stage.run() == "done"

    assert stage.spent == 7 + len("They talked.")


def test_where_the_budget_does_not_suffice_there_is_no_summary_and_nobody_is_troubled() -> None:
    stage = Stage(9)
    stage.budgets.set_limit(TENANT, 100, Actor("anonymous", "r"))

    assert stage.run() == "no budget left"

    assert not stage.model.asked
    assert stage.spent == 0

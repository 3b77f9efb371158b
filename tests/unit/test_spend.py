"""What an answer costs: reserved before the model hears of it, settled whatever becomes of it, refused in words."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.domain.audit import Actor
from app.domain.budgets import BudgetName, DailyUsage, Dimension, UsageBy, UsageFilter
from app.domain.conversation_control import Stop
from app.domain.dialogue import ModelCall, Piece, ToolAsk, ToolOffer, Usage, Utterance
from app.domain.errors import BudgetSpent, ModelRefused, ModelUnavailable
from app.domain.model_ports import Model
from app.domain.profiles import Profile
from app.services.ask_model import ask_model
from app.services.spend import Purse
from tests.builders import a_message
from tests.fakes import InMemoryStore, ScriptedModel, WishedStops
from tests.fakes_budgets import InMemoryBudgets
from tests.fakes_parts import Step

PROFILE = Profile("dear", "http://model.test/v1", "big", output_tokens=100, input_price=2.0, output_price=10.0)
SPARE = replace(PROFILE, name="spare", model="small")
CALL = ModelCall([Utterance("user", "x" * 35)])
INPUT = CALL.input_tokens
TENANT = BudgetName("t1", Dimension.TENANT, "t1")
AWAY = ModelUnavailable("The model's endpoint could not be reached.")


class SilentModel(ScriptedModel):
    """A model that does not say what it counted."""

    def stream(self, profile: Profile, call: ModelCall, stop: Stop) -> Iterator[Piece]:
        for piece in super().stream(profile, call, stop):
            yield piece if piece.answer is None else Piece("", replace(piece.answer, usage=Usage()))


class Stage:
    """A claimed turn on a budget of 1,000 tokens a day, and a model."""

    def __init__(self, model: Model, factor: float = 1.0) -> None:
        self.store = InMemoryStore()
        self.budgets = InMemoryBudgets(self.store, 1_000)
        self.model = model
        self.refused: list[str] = []
        self.purse = Purse(self.budgets, self.store.clock, lambda *_: factor, self.refused.append)
        message = a_message(persona_id="p-1")
        self.store.inbox().accept(message, None)
        worker = self.store.presence("worker")
        worker.start()
        turn = self.store.turns(worker).claim(message.event_id)
        assert turn is not None
        self.turn = turn

    def answer(self, call: ModelCall = CALL, *profiles: Profile) -> str:
        with self.purse.paying(self.turn, self.model) as model:
            return said_by(model, call, *profiles)

    @property
    def stands(self) -> tuple[int, int]:
        budget = self.budgets.budget(TENANT)
        return budget.used, budget.reserved

    @property
    def usage(self) -> list[DailyUsage]:
        today = self.budgets.today
        return list(self.budgets.usage(UsageFilter(UsageBy.MODEL, today, today), None, 10))


def said_by(model: Model, call: ModelCall = CALL, *profiles: Profile) -> str:
    """All the words of one answer, read as a turn reads them: no further than the whole."""
    with WishedStops().heard("") as stop:
        said = ""
        for piece in ask_model(profiles or (PROFILE,), call, stop, model):
            if piece.answer is not None:
                return said
            said += piece.text
    raise AssertionError("the answer has no end")


def test_while_a_model_speaks_its_input_and_its_longest_answer_are_reserved() -> None:
    during: list[tuple[int, int]] = []
    stage = Stage(ScriptedModel(["hi", lambda: during.append(stage.stands)]))

    stage.answer()

    assert during == [(0, INPUT + 100)]


def test_what_the_model_counted_is_spent_at_its_prices() -> None:
    stage = Stage(ScriptedModel(["hello"]))

    assert stage.answer() == "hello"

    assert stage.stands == (7 + 5, 0)
    (line,) = stage.usage
    assert (line.who, line.requests, line.input_tokens, line.output_tokens) == ("scripted", 1, 7, 5)
    assert line.cost == pytest.approx((7 * 2 + 5 * 10) / 1_000_000)


def test_what_a_model_does_not_count_is_estimated() -> None:
    stage = Stage(SilentModel(["y" * 70, ToolAsk("1", "look_up", "z" * 35)]))

    stage.answer()

    assert stage.stands == (INPUT + 20 + 2 + 10, 0)


def test_what_was_said_before_a_cut_was_spent() -> None:
    stage = Stage(ScriptedModel(["y" * 70, AWAY]))

    with pytest.raises(ModelUnavailable):
        stage.answer()

    assert stage.stands == (INPUT + 20, 0)
    assert [line.who for line in stage.usage] == ["big"]


def test_a_reader_who_leaves_in_the_middle_has_paid_when_the_block_ends() -> None:
    stage = Stage(ScriptedModel(["y" * 70, "never heard"]))

    with stage.purse.paying(stage.turn, stage.model) as model, WishedStops().heard("") as stop:
        pieces = model.stream(PROFILE, CALL, stop)
        next(pieces)

    assert stage.stands == (INPUT + 20, 0)
    del pieces
    assert stage.stands == (INPUT + 20, 0)


@pytest.mark.parametrize("error", [AWAY, ModelRefused("No.")])
def test_a_model_that_said_nothing_cost_nothing(error: Exception) -> None:
    stage = Stage(ScriptedModel([error]))

    with pytest.raises(type(error)):
        stage.answer()

    assert stage.stands == (0, 0)


def test_each_profile_that_is_tried_is_paid_for_by_itself() -> None:
    stage = Stage(ScriptedModel([AWAY], ["hello"]))

    stage.answer(CALL, PROFILE, SPARE)

    assert [(line.who, line.requests, line.output_tokens) for line in stage.usage] == [
        ("big", 1, 0),
        ("scripted", 1, 5),
    ]
    assert stage.stands == (12, 0)


def test_several_calls_of_one_attempt_are_paid_for_each() -> None:
    stage = Stage(ScriptedModel(["one"], ["three"]))

    with stage.purse.paying(stage.turn, stage.model) as model:
        said_by(model)
        said_by(model)
    with stage.purse.paying(stage.turn, stage.model, "summary") as model:
        said_by(model)

    assert stage.stands == (3 * 7 + 3 + 5 + 5, 0)


def test_an_answer_that_may_not_fit_is_not_asked_for() -> None:
    model = ScriptedModel(["hi"])
    stage = Stage(model)
    stage.budgets.set_limit(BudgetName("t1", Dimension.PERSONA, "p-1"), INPUT + 99, Actor("anonymous", "r"))

    with pytest.raises(BudgetSpent) as refused:
        stage.answer()

    assert not model.calls
    assert stage.refused == ["persona"]
    assert "It refills on 2026-01-02 at 00:00 UTC." in str(refused.value)
    assert stage.stands == (0, 0)


def test_a_call_that_wants_a_short_answer_reserves_no_more() -> None:
    stage = Stage(ScriptedModel(["hi"]))
    stage.budgets.set_limit(TENANT, INPUT + 10, Actor("anonymous", "r"))

    assert stage.answer(replace(CALL, output_tokens=10)) == "hi"


def test_the_tools_that_are_offered_are_part_of_what_is_reserved() -> None:
    during: list[tuple[int, int]] = []
    stage = Stage(ScriptedModel(["hi", lambda: during.append(stage.stands)]))
    offer = ToolOffer("look_up", "Looks a word up.", {"type": "object", "properties": {}})

    stage.answer(replace(CALL, tools=(offer,)))

    assert during == [(0, INPUT + offer.tokens + 100)]
    assert offer.tokens > 20


def test_estimates_are_corrected_before_they_are_reserved() -> None:
    during: list[tuple[int, int]] = []
    stage = Stage(ScriptedModel(["hi", lambda: during.append(stage.stands)]), factor=2.0)

    stage.answer()

    assert during == [(0, 2 * INPUT + 100)]


def test_postgres_being_away_at_the_end_is_waited_for() -> None:
    stage = Stage(ScriptedModel([]))
    waited: list[float] = []

    def come_back(seconds: float) -> None:
        waited.append(seconds)
        stage.store.down = len(waited) < 3

    stage.store.clock.sleep = come_back  # type: ignore[method-assign]
    script: list[Step] = ["hi", lambda: setattr(stage.store, "down", True)]
    stage.model = ScriptedModel(script)

    stage.answer()

    assert len(waited) == 3
    assert stage.stands == (7 + 2, 0)


def test_an_answer_is_not_lost_over_its_price() -> None:
    stage = Stage(ScriptedModel([]))
    stage.model = ScriptedModel(["hi", lambda: setattr(stage.store, "down", True)])

    assert stage.answer() == "hi"

    stage.store.down = False
    assert stage.stands == (0, INPUT + 100)

"""Who answers a hard message: by what its sender says, by rules, by the model's own wish; and what is said of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.domain.conversation import Turn
from app.domain.conversation_control import NEVER
from app.domain.dialogue import Answer, Escalation, ModelCall, ToolAsk, ToolOffer, Usage, Utterance
from app.domain.errors import ModelUnavailable
from app.domain.escalation import LONG_CHARACTERS, reason_to_escalate, wished_by_model
from app.domain.profiles import Profile, ProfileRole
from app.services.choose_profiles import Choice, choose_profiles
from app.services.escalate import ask_chosen
from tests.fakes import ScriptedModel
from tests.fakes_parts import Step
from tests.fakes_profiles import a_roster

OWN = Profile("default", "http://own.test/v1")
STRONG = Profile("strong", "http://strong.test/v1", role=ProfileRole.ESCALATION)
AWAY = ModelUnavailable("The model's endpoint could not be reached.")
HELP = ToolAsk("c-1", "escalate", '{"reason": "too hard for me"}')
CALL = ModelCall([Utterance("user", "hello")])


def choose(text: str = "hello", *profiles: Profile, **metadata: Any) -> Choice:
    turn = Turn("e-1", "s-1", 1, "t-1", None, metadata, 1, "worker")
    return choose_profiles(turn, text, a_roster(OWN, *profiles))


def answer(model: ScriptedModel, choice: Choice, call: ModelCall = CALL) -> tuple[str, Answer]:
    pieces = list(ask_chosen(choice, call, NEVER, model))
    assert pieces[-1].answer is not None
    return "".join(piece.text for piece in pieces), pieces[-1].answer


def asked(model: ScriptedModel) -> list[str]:
    return [profile.name for profile, _ in model.calls]


@pytest.mark.parametrize(
    ("text", "tags", "metadata", "reason"),
    [
        ("hi", (), {"escalate": True}, "asked for"),
        ("hi", (), {"escalate": "true"}, "asked for"),
        ("hi", (), {"risk": "high"}, "risk is high"),
        ("hi", (), {"complexity": "critical"}, "complexity is critical"),
        ("hi", ("code", "law", "health"), {}, "health and law"),
        ("a? b? c? d?", (), {}, "many questions"),
        ("x" * LONG_CHARACTERS, (), {}, "long"),
    ],
)
def test_there_is_a_reason(text: str, tags: Sequence[str], metadata: dict[str, Any], reason: str) -> None:
    assert reason in str(reason_to_escalate(text, tags, metadata))


@pytest.mark.parametrize(
    ("text", "tags", "metadata"),
    [
        ("what is my cat called?", ("time", "money"), {}),
        ("a? b? c?", (), {"risk": "low", "complexity": None}),
        ("x" * (LONG_CHARACTERS - 1), (), {}),
        ("x" * LONG_CHARACTERS, ("law",), {"escalate": False}),
        ("hi", ("law",), {"escalate": "no", "risk": "high"}),
    ],
)
def test_there_is_none(text: str, tags: Sequence[str], metadata: dict[str, Any]) -> None:
    assert reason_to_escalate(text, tags, metadata) is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ('{"reason": "hard"}', "hard"),
        ("{}", "the model asked for it"),
        ("not json", "the model asked for it"),
        ("[1]", "the model asked for it"),
        ('{"reason": "' + "x" * 9_000 + '"}', "x" * 300),
        ("[" * 200_000, "the model asked for it"),
    ],
    ids=["said", "empty", "no json", "a list", "long", "deep"],
)
def test_a_models_wish_is_understood_however_it_writes_it(arguments: str, reason: str) -> None:
    assert wished_by_model([ToolAsk("c-0", "echo", "{}"), ToolAsk("c-1", "escalate", arguments)]) == reason


def test_without_a_stronger_profile_nothing_changes() -> None:
    choice = choose("a? b? c? d?", escalate=True)
    model = ScriptedModel(["hi"])

    text, whole = answer(model, choice)

    assert choice == Choice((OWN,))
    assert (text, whole.profile, whole.escalation) == ("hi", "default", None)
    assert model.calls[0][1] == CALL


def test_a_hard_message_goes_to_the_strong_one_with_its_reason() -> None:
    model = ScriptedModel(["hi"])

    _, whole = answer(model, choose("hello", STRONG, escalate=True))

    assert asked(model) == ["strong"]
    assert whole.escalation == Escalation("it was asked for", "strong")
    assert model.calls[0][1].tools == ()


def test_while_the_strong_one_is_away_an_everyday_one_answers_and_that_is_recorded() -> None:
    model = ScriptedModel([AWAY], ["hi"])

    _, whole = answer(model, choose("hello", STRONG, escalate=True))

    assert asked(model) == ["strong", "default"]
    assert whole.escalation == Escalation("it was asked for", "default", fell_back=True)


def test_an_easy_message_stays_where_it_is_and_its_model_may_ask_for_help() -> None:
    model = ScriptedModel(["hi"])

    _, whole = answer(model, choose("hello", STRONG))

    assert whole.escalation is None
    assert [tool.name for tool in model.calls[0][1].tools] == ["escalate"]


@pytest.mark.parametrize("before", [[], ["Let me see."]])
def test_a_model_that_asks_for_help_gets_it_and_its_words_stay(before: list[Step]) -> None:
    model = ScriptedModel([*before, HELP], ["The ", "answer."])

    text, whole = answer(model, choose("hello", STRONG))

    assert asked(model) == ["default", "strong"]
    assert text == whole.text == ("Let me see.\n\nThe answer." if before else "The answer.")
    assert whole.escalation == Escalation("too hard for me", "strong")
    assert whole.usage == Usage(14, len("The answer.") + len("".join(map(str, before))))
    assert model.calls[1][1].tools == ()


def test_help_that_is_away_is_given_by_an_everyday_model_without_asking_again() -> None:
    model = ScriptedModel([HELP], [AWAY], ["I try."])

    _, whole = answer(model, choose("hello", STRONG))

    assert asked(model) == ["default", "strong", "default"]
    assert whole.escalation == Escalation("too hard for me", "default", fell_back=True)


def test_asking_for_help_that_was_not_offered_is_an_ask_like_any_other() -> None:
    _, whole = answer(ScriptedModel([HELP]), choose())

    assert (whole.asks, whole.escalation) == ((HELP,), None)


@pytest.mark.parametrize("insisted", ["required", "none", {"type": "function", "function": {"name": "echo"}}])
def test_where_a_tool_is_insisted_on_help_is_not_offered(insisted: Any) -> None:
    call = replace(CALL, tools=(ToolOffer("echo", "", {}),), tool_choice=insisted)
    model = ScriptedModel(["hi"])

    answer(model, choose("hello", STRONG), call)

    assert [tool.name for tool in model.calls[0][1].tools] == ["echo"]


def test_a_profile_that_is_named_answers_alone_whatever_the_rules_say() -> None:
    named = choose("a? b? c? d?", STRONG, agent_profile_id="default", risk="high")
    strong = choose("hello", STRONG, agent_profile_id="strong")

    assert named == Choice((OWN,))
    assert strong == Choice((STRONG,), reason="a profile for it was chosen")

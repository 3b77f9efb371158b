"""What a model is told: who it is, what is remembered, what was said, and nothing twice."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from app.domain.conversation import Turn, UserMessage
from app.domain.dialogue import ToolAsk, ToolOffer, Utterance
from app.domain.errors import NotFound, StoreUnavailable
from app.domain.events import EventType, NewEvent
from app.domain.finding import Found, Source
from app.domain.profiles import Profile
from app.domain.recall import Question
from app.domain.transcript import Summary
from app.domain.turn_request import TurnRequest
from app.services.bring_memories import Brought, Reminder, brought_of
from app.services.plan_step import Tooling
from app.services.prepare_turn import Preparation, Prepared, prepare_turn, remind
from app.services.recall_memories import Recalled
from app.services.show_context import show_context
from app.tools.loading import load_tools
from tests.builders import a_final, a_message, a_thought
from tests.fakes import InMemoryStore
from tests.fakes_parts import FixedRoster

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_memory(event_id: str, content: str = "") -> Found:
    return Found(event_id, content or f"content of {event_id}", 0.8, "user", "s-0", Source.BRAIN, NOW)


@dataclass
class Stage:
    """A session, and a recall that finds what a test put there."""

    remembered: list[Found] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    told: list[NewEvent] = field(default_factory=list)
    error: Exception | None = None
    degraded: bool = False
    roster: FixedRoster = field(default_factory=FixedRoster)
    tooling: Tooling = field(default_factory=Tooling)

    def __post_init__(self) -> None:
        self.store = InMemoryStore()
        self.turns = self.store.turns(self.store.presence("worker"))

    def recall(self, question: Question) -> Recalled:
        self.asked.append(question)
        if self.error is not None:
            raise self.error
        return Recalled(self.remembered[: question.top_k], self.degraded)

    @property
    def preparation(self) -> Preparation:
        reminder = Reminder(self.recall, self.store.transcripts().replaced, "u-0", "wm")
        return Preparation(self.roster, self.store.transcripts(), "be kind", reminder, tooling=self.tooling)

    def ask(self, text: str, **fields: object) -> UserMessage:
        message = a_message(text, "s-1", **fields)
        self.store.inbox().accept(message, None)
        return message

    def claim(self, message: UserMessage) -> Turn:
        turn = self.turns.claim(message.event_id)
        assert turn is not None
        self.turns.note(turn, a_thought(turn.event_id, turn.attempts))
        return turn

    def answer(self, text: str, answer: str) -> None:
        turn = self.claim(self.ask(text))
        self.turns.finish(turn, a_final(turn.event_id, answer), "done", None)

    def prepare(self, turn: Turn, tell: Callable[[NewEvent], object] | None = None) -> Prepared:
        def note(event: NewEvent) -> None:
            self.told.append(event)
            self.turns.note(turn, event)

        return prepare_turn(turn, self.preparation, tell or note)


def spoken(prepared: Prepared) -> list[tuple[str, str]]:
    return [(line.role, line.content) for line in prepared.call.lines]


def test_a_model_is_told_who_it_is_what_it_remembers_and_what_was_said() -> None:
    stage = Stage([a_memory("e-cat", "my cat is called Miso")])
    stage.answer("hello", "hi")

    prepared = stage.prepare(stage.claim(stage.ask("what is my cat called?", persona_id="Ada")))

    (_, system), *rest = spoken(prepared)
    assert system.startswith("be kind\n\nYou speak as Ada.\n\n")
    assert json.dumps("my cat is called Miso") in system
    assert rest == [("user", "hello"), ("assistant", "hi"), ("user", "what is my cat called?")]
    assert prepared.call.traceparent is None


def test_what_recall_brought_is_told_to_readers_too() -> None:
    stage = Stage([a_memory("e-cat")], degraded=True)

    stage.prepare(stage.claim(stage.ask("what is my cat called?", metadata={"universe_id": "u-9"})))

    (event,) = stage.told
    assert (event.type, event.role) == (EventType.CONTEXT, "system")
    assert event.metadata["degraded"] is True
    assert [each["event_id"] for each in event.metadata["results"]] == ["e-cat"]
    assert brought_of(event.metadata) == Brought((a_memory("e-cat"),), degraded=True)
    (question,) = stage.asked
    assert (question.place.tenant, question.place.universe, question.place.namespace) == ("t1", "u-9", "wm")


def test_what_stands_in_the_conversation_is_not_remembered_beside_it() -> None:
    stage = Stage()
    message = stage.ask("my cat is called Miso")
    stage.remembered = [a_memory(message.event_id), a_memory("e-else")]

    stage.prepare(stage.claim(message))

    assert [each["event_id"] for each in stage.told[0].metadata["results"]] == ["e-else"]


def test_an_answer_that_was_given_anew_is_not_remembered() -> None:
    stage = Stage([a_memory("e-bad"), a_memory("e-good")])
    stage.store.superseded.add("e-bad")

    stage.prepare(stage.claim(stage.ask("and?")))

    assert [each["event_id"] for each in stage.told[0].metadata["results"]] == ["e-good"]


def test_recall_that_comes_late_is_left_out_and_said() -> None:
    stage = Stage([a_memory("e-cat")], error=StoreUnavailable("Postgres did not answer in time"))

    prepared = stage.prepare(stage.claim(stage.ask("what is my cat called?")))

    assert spoken(prepared)[0] == ("system", "be kind")
    assert stage.told[0].metadata == {"results": [], "degraded": True, "late": True}


def test_a_turn_that_begins_again_remembers_what_it_remembered() -> None:
    stage = Stage([a_memory("e-cat")])
    message = stage.ask("what is my cat called?")
    turn = stage.claim(message)
    first = stage.prepare(turn)
    stage.turns.postpone(turn, 0, "away")
    stage.remembered = [a_memory("e-other")]

    again = stage.prepare(stage.claim(message))

    assert again.call.lines == first.call.lines
    assert len(stage.asked) == len(stage.told) == 1


def test_an_older_part_that_does_not_fit_is_told_by_its_summary() -> None:
    stage = Stage(roster=FixedRoster([Profile("small", "http://m/v1", context_tokens=600, output_tokens=200)]))
    stage.answer("a long story " * 50, "what a story " * 50)
    stage.store.transcripts().keep_summary("s-1", Summary("She told a story.", 1, ("a", "b"), "m"))

    prepared = stage.prepare(stage.claim(stage.ask("and then?")))

    assert prepared.window.is_cut
    assert "She told a story." in prepared.call.lines[0].content
    assert spoken(prepared)[-1] == ("user", "and then?")


@pytest.mark.parametrize(("is_toy", "offered"), [(False, ["echo", "recall", "remember", "timestamp"]), (True, [])])
def test_a_toy_is_offered_none_of_our_tools(is_toy: bool, offered: list[str]) -> None:
    toy = Profile("default", "http://m/v1", is_toy=True)
    able = replace(toy, name="mine", is_toy=is_toy)
    stage = Stage(roster=FixedRoster([toy, able]), tooling=Tooling(load_tools("")))

    prepared = stage.prepare(stage.claim(stage.ask("hello")))

    assert [tool.name for tool in prepared.call.tools] == offered


def test_a_caller_who_tells_the_conversation_is_taken_at_their_word() -> None:
    stage = Stage([a_memory("e-cat")])
    stage.answer("hello", "hi")
    ask = ToolAsk("c-1", "look_up", "{}")
    lines = (
        Utterance("system", "be brief"), Utterance("user", "look"), Utterance("assistant", "", (ask,)),
        Utterance("tool", "found", answers="c-1"),
    )  # fmt: skip
    offer = ToolOffer("look_up", "", {})
    request = TurnRequest(lines, (offer,), "required", 9, 0.5, {"stop": ["."]})

    prepared = stage.prepare(stage.claim(stage.ask("look", request=request)))

    assert prepared.call.lines[0].content.startswith("be brief\n\n")
    assert prepared.call.lines[1:] == lines[1:]
    assert (prepared.call.tools, prepared.call.tool_choice) == ((offer,), "required")
    assert (prepared.call.output_tokens, prepared.call.temperature, prepared.call.options) == (9, 0.5, {"stop": ["."]})


def test_the_profile_that_was_asked_for_is_looked_for() -> None:
    stage = Stage()

    stage.prepare(stage.claim(stage.ask("hi", metadata={"agent_profile_id": "strong"})))

    assert [(wish.name, wish.tenant) for wish in stage.roster.wishes] == [("strong", "t1")]


def test_people_see_what_would_be_told_and_nothing_is_kept_of_it() -> None:
    stage = Stage([a_memory("e-cat")])
    stage.answer("hello", "hi")

    window = show_context("s-1", stage.preparation)

    assert [line.role for line in window.lines] == ["system", "user", "assistant"]
    assert "content of e-cat" in window.lines[0].content
    assert EventType.CONTEXT not in [event.type for event in stage.store.events["s-1"]]
    with pytest.raises(NotFound):
        show_context("s-none", stage.preparation)


def test_a_history_that_was_reset_meanwhile_recalls_nothing_and_harms_nobody() -> None:
    stage = Stage([a_memory("e-cat")])
    turn = stage.claim(stage.ask("what is my cat called?"))

    assert remind(turn, (), stage.preparation, stage.told.append) == Brought()
    assert (stage.asked, stage.told) == ([], [])

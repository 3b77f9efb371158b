"""Recall answers with SomaBrain or without it, and tells each memory once and none that was forgotten."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.domain.errors import BrainUnavailable
from app.domain.finding import Found, Source, share_of
from app.domain.memory import Memory, Place
from app.domain.recall import Question, Recollection
from app.services.recall_memories import Recall, Recalled, recall_memories
from tests.builders import a_memory
from tests.fakes import InMemoryStore

PLACE = Place("t1", "wm", "u-1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Stage:
    """A ledger, and stores that answer what they are told to."""

    told: list[Recollection] = field(default_factory=list)
    away: bool = False
    waiting: list[Found] = field(default_factory=list)
    copied: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = InMemoryStore()

    def recall(self, question: Question, seconds: float | None = None) -> list[Recollection]:
        if self.away:
            raise BrainUnavailable("SomaBrain gave no answer: timeout")
        return self.told

    def pending(self, question: Question) -> list[Found]:
        return self.waiting

    def replica(self, question: Question) -> list[Found]:
        return self.copied

    def accept(self, memory: Memory) -> Recollection:
        self.store.ledger().accept([memory])
        return told_of(memory)

    def ask(self, **wish: object) -> Recalled:
        question = replace(Question("what is my name?", PLACE), **wish)  # type: ignore[arg-type]
        return recall_memories(question, Recall(self, self, self.store.ledger(), 0.25))


def told_of(memory: Memory, score: float = 0.5) -> Recollection:
    return Recollection(memory.event_id, str(memory.payload["content"]), score, memory.payload)


def found(event_id: str, source: Source, score: float = 0.5, **fields: object) -> Found:
    values = {"role": "user", "session_id": "s-1", "created_at": NOW, **fields}
    return Found(event_id, f"content of {event_id}", score, source=source, **values)  # type: ignore[arg-type]


def test_what_somabrain_found_is_told_with_what_the_ledger_knows() -> None:
    stage = Stage()
    memory = a_memory("my name is Ada")
    stage.told = [stage.accept(memory)]

    recalled = stage.ask()

    assert not recalled.degraded
    (only,) = recalled.found
    assert (only.event_id, only.content, only.source) == (memory.event_id, "my name is Ada", Source.BRAIN)
    assert (only.role, only.session_id, only.created_at) == ("user", memory.session_id, stage.store.clock.now())


def test_what_waits_for_somabrain_is_found_beside_what_it_has() -> None:
    stage = Stage(waiting=[found("m-2", Source.PENDING, 0.9)])
    stage.told = [stage.accept(a_memory("old"))]

    assert [each.source for each in stage.ask().found] == [Source.PENDING, Source.BRAIN]


def test_a_memory_that_two_stores_have_is_told_once() -> None:
    stage = Stage(waiting=[found("m-1", Source.PENDING, 0.9)])
    stage.told = [told_of(a_memory("same", event_id="m-1"))]

    assert [each.source for each in stage.ask().found] == [Source.BRAIN]


def test_without_somabrain_our_own_stores_answer_and_say_so() -> None:
    stage = Stage(
        away=True,
        waiting=[found("m-1", Source.PENDING)],
        copied=[found("m-1", Source.REPLICA), found("m-2", Source.REPLICA)],
    )

    recalled = stage.ask()

    assert recalled.degraded
    assert [(each.event_id, each.source) for each in recalled.found] == [
        ("m-1", Source.PENDING),
        ("m-2", Source.REPLICA),
    ]


def test_a_forgotten_memory_is_not_told_although_somabrain_still_has_it() -> None:
    stage = Stage()
    memory = a_memory("to be forgotten")
    stage.told = [stage.accept(memory)]
    stage.store.ledger().forget(memory.event_id, "t1")

    assert not stage.ask().found


def test_another_tenants_memory_is_not_told_whatever_somabrain_says() -> None:
    stage = Stage()
    stage.told = [stage.accept(a_memory(place=Place("t2", "wm", "u-1")))]

    assert not stage.ask().found


def test_what_other_programs_gave_to_somabrain_is_told() -> None:
    stage = Stage(told=[Recollection(None, "from elsewhere", None, {"role": "user"})])

    (only,) = stage.ask().found

    assert (only.event_id, only.content, only.score, only.role) == (None, "from elsewhere", 0.0, "user")


def test_the_best_come_first_then_the_newest_and_no_more_than_asked() -> None:
    older = found("older", Source.PENDING, created_at=NOW - timedelta(days=1))
    stage = Stage(waiting=[older, found("newer", Source.PENDING), found("best", Source.PENDING, 0.8)])

    assert [each.event_id for each in stage.ask().found] == ["best", "newer", "older"]
    assert [each.event_id for each in stage.ask(top_k=1).found] == ["best"]


def test_a_session_narrows_the_answer() -> None:
    stage = Stage(waiting=[found("here", Source.PENDING), found("there", Source.PENDING, session_id="s-2")])

    assert [each.event_id for each in stage.ask(session_id="s-1").found] == ["here"]


def test_a_long_word_says_more_than_a_short_one() -> None:
    asked = ["what", "is", "my", "name"]

    assert share_of(asked, ["my", "name", "is", "ada"]) == round(8 / 12, 4)
    assert share_of(asked, ["what", "is", "this"]) == 0.5
    assert share_of(asked, []) == 0.0
    assert share_of([], ["anything"]) == 0.0

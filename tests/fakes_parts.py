"""The small ports, in memory: a clock that moves when told, a bell and a broadcast that write down what they were
told, notes, and a model that follows a script."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.adapters.stop_watch import Wish
from app.domain.conversation import Turn
from app.domain.conversation_control import Stop, Why
from app.domain.dialogue import Answer, ModelCall, Piece, ToolAsk, Usage, Utterance
from app.domain.errors import LeaseLost, PolicyUnavailable, StoreUnavailable
from app.domain.events import EventType
from app.domain.policy import Decision, PolicyQuestion, Standing, decision_on
from app.domain.ports import Turns
from app.domain.profiles import Profile, ProfileWish
from app.routing import TaskName


class FakeClock:
    """`Clock` that stands still until somebody advances it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._seconds = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0) -> None:
        self._seconds += seconds + 60 * minutes + 3600 * hours


@dataclass(frozen=True)
class Ring:
    """One ring, as it was asked for."""

    task: TaskName
    ids: tuple[str, ...] = ()
    expires: float | None = None


@dataclass
class RecordingDoorbell:
    """`Doorbell` that keeps the rings in order; `unheard` is how many wait in every queue."""

    rings: list[Ring] = field(default_factory=list)
    unheard: int = 0

    def ring(self, task: TaskName, *ids: str, expires: float | None = None) -> None:
        self.rings.append(Ring(task, ids, expires))

    def waiting(self, task: TaskName) -> int:
        return self.unheard

    @property
    def tasks(self) -> list[TaskName]:
        return [ring.task for ring in self.rings]


@dataclass
class RecordingBroadcast:
    """`Broadcast` that keeps what was shown, by session."""

    shown: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def publish(self, session_id: str, item: Mapping[str, Any]) -> None:
        self.shown[session_id].append(dict(item))

    def of(self, session_id: str, kind: EventType | None = None) -> list[dict[str, Any]]:
        return [item for item in self.shown[session_id] if kind is None or item["type"] == kind.value]


@dataclass
class RecordingNotes:
    """`HealthNotes` that keeps the notes in order; `last` is what health would read."""

    notes: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, component: str, status: str, detail: str) -> None:
        self.notes.append((component, status, detail))

    @property
    def last(self) -> dict[str, str]:
        return {component: status for component, status, _ in self.notes}


class BreaksOff:
    """A step of a script: the model stops talking without having ended."""


Step = str | ToolAsk | Exception | BreaksOff | Callable[[], object]


def always_in_company(turn: Turn) -> str:
    """`Conversation.alone` where no turn is a suspect."""
    raise AssertionError(f"{turn.event_id} is no suspect")


@dataclass
class ScriptedPolicy:
    """`Policy` that answers so: a yes, a no, or nothing (None); `asked` are the questions that came."""

    says: bool | None = True
    asked: list[PolicyQuestion] = field(default_factory=list)

    def decide(self, question: PolicyQuestion) -> Decision:
        self.asked.append(question)
        if self.says is None:
            raise PolicyUnavailable("the policy's service gave no answer (timeout)")
        return decision_on(question, self.says)

    def standing(self) -> Standing:
        return Standing("ok" if self.says is not None else "down", "a script decides")


class WishedStops:
    """`Stops` whose wishes a test makes."""

    def __init__(self) -> None:
        self._wishes: defaultdict[str, Wish] = defaultdict(Wish)

    @contextmanager
    def heard(self, event_id: str) -> Iterator[Wish]:
        yield self._wishes[event_id]

    def wish(self, event_id: str, why: Why = Why.CANCELLED) -> None:
        self._wishes[event_id].make(why)


@dataclass
class FixedRoster:
    """`Roster` of these profiles, whatever is wished; `wishes` are those that came."""

    profiles: Sequence[Profile] = (Profile("default", "http://model.test/v1", output_tokens=512),)
    wishes: list[ProfileWish] = field(default_factory=list)

    def candidates(self, wish: ProfileWish, /) -> Sequence[Profile]:
        self.wishes.append(wish)
        return self.profiles


class ScriptedModel:
    """`Model` that follows one script per call, the last one for ever.

    A text is said, a tool asked for, an exception raised, a function called between two pieces.
    """

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = list(scripts)
        self.calls: list[tuple[Profile, ModelCall]] = []
        self.closed = 0

    @property
    def asked(self) -> list[list[Utterance]]:
        """The lines of every call."""
        return [list(call.lines) for _, call in self.calls]

    def stream(self, profile: Profile, call: ModelCall, stop: Stop) -> Iterator[Piece]:
        self.calls.append((profile, call))
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        try:
            yield from self._follow(script)
        finally:
            self.closed += 1

    def _follow(self, script: Sequence[Step]) -> Iterator[Piece]:
        said = ""
        asks: list[ToolAsk] = []
        for step in script:
            match step:
                case ToolAsk():
                    asks.append(step)
                case str():
                    said += step
                    yield Piece(step)
                case Exception():
                    raise step
                case BreaksOff():
                    return
                case _:
                    step()
        finish = "tool_calls" if asks else "stop"
        yield Piece("", Answer(said, "scripted", Usage(7, len(said)), tuple(asks), finish))


class PromptScribe:
    """`Scribe` that keeps every piece at once."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @contextmanager
    def writing_down(self, turn: Turn) -> Iterator["PromptPage"]:
        yield PromptPage(turn, self._turns)


@dataclass
class PromptPage:
    """`Page` of a `PromptScribe`."""

    turn: Turn
    turns: Turns
    text: str = ""

    def add(self, text: str) -> None:
        self.text += text
        try:
            saved = self.turns.save_partials([(self.turn, self.text)])
        except StoreUnavailable:
            return
        if saved.lost:
            raise LeaseLost("the turn belongs to another attempt")

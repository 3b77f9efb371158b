"""Before the model is asked: what is remembered, who is to answer, and what exactly it is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.context import Parts, Window, build_window, room_of
from app.domain.conversation import Turn
from app.domain.dialogue import ModelCall, ToolOffer, Utterance, tokens_of
from app.domain.events import EventType, NewEvent
from app.domain.model_ports import Roster
from app.domain.profiles import Profile
from app.domain.tool_loop import RESULTS_ARE_DATA, TakenStep, escalated_before, lines_of
from app.domain.transcript import Line, Transcripts
from app.services.bring_memories import Brought, Reminder, bring_memories, brought_of
from app.services.choose_profiles import Choice, choose_profiles
from app.services.correct_estimates import uncorrected
from app.services.plan_step import Tooling, offers

HISTORY_LINES = 200
_STEPS_SHARE = 0.5
_SPEAKING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Preparation:
    """What preparing a turn needs; without a `reminder` nothing is recalled."""

    roster: Roster
    transcripts: Transcripts
    system_prompt: str
    reminder: Reminder | None = None
    correction: Callable[[str, Profile], float] = uncorrected
    """What a tenant's estimated tokens are to be multiplied by, for this model."""
    tooling: Tooling = field(default_factory=Tooling)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The call, who is to answer it, and how the window came about."""

    choice: Choice
    call: ModelCall
    window: Window


def prepare_turn(
    turn: Turn, preparation: Preparation, tell: Callable[[NewEvent], object], taken: Sequence[TakenStep] = ()
) -> Prepared:
    """Everything up to the call; `tell` is given what recall brought, `taken` are the steps that the answer has taken
    already. `ModelRefused` where nobody can answer.
    """
    said = preparation.transcripts.newest(turn.session_id, turn.seq, HISTORY_LINES)
    choice = choose_profiles(turn, said[-1].text if said else "", preparation.roster, escalated_before(taken))
    brought = remind(turn, said, preparation, tell)
    able = (*choice.profiles, *choice.stronger)
    room = min(_room(turn, each, preparation) for each in able)
    tools = _offered(turn, able, preparation.tooling)
    steps = lines_of(turn.event_id, taken, preparation.tooling.result_chars, int(room * _STEPS_SHARE))
    left = room - tokens_of(steps) - sum(tool.tokens for tool in tools)
    window = window_of(turn, said, brought, left, preparation).followed_by(steps)
    request = turn.request
    call = ModelCall(
        window.lines,
        tools,
        _choice(turn, tools),
        request.output_tokens,
        request.temperature,
        request.options,
        turn.traceparent,
    )
    return Prepared(choice, call, window)


def remind(turn: Turn, said: Sequence[Line], preparation: Preparation, tell: Callable[[NewEvent], object]) -> Brought:
    """What recall brought to this turn, looked for once however often the turn is begun."""
    if preparation.reminder is None or not said:  # A reset may have taken the history meanwhile.
        return Brought()
    known = preparation.transcripts.brought(turn.session_id, turn.seq)
    if known is not None:
        return brought_of(known)
    brought = bring_memories(turn, said[-1].text, {line.event_id for line in said}, preparation.reminder)
    event_id = f"{turn.event_id}:context:{turn.attempts}"
    tell(NewEvent(event_id, EventType.CONTEXT, "system", "", brought.as_metadata()))
    return brought


def window_of(turn: Turn, said: Sequence[Line], brought: Brought, room_tokens: int, preparation: Preparation) -> Window:
    """What the model is told, fitting this room."""
    told = turn.request.lines or tuple(line.utterance for line in said)
    history, question = _parted([line for line in told if line.role not in _SPEAKING])
    summary = None
    if not turn.request.lines:
        summary = preparation.transcripts.summary(turn.session_id, turn.seq)
    parts = Parts(
        system=_system(turn, told, preparation.system_prompt),
        notes=brought.found,
        summary=summary.text if summary else "",
        history=history,
        question=question,
        is_cut=len(said) == HISTORY_LINES,
    )
    return build_window(parts, room_tokens)


def _room(turn: Turn, profile: Profile, preparation: Preparation) -> int:
    return int(room_of(profile.context_tokens, profile.output_tokens) / preparation.correction(turn.tenant, profile))


def _parted(lines: Sequence[Utterance]) -> tuple[Sequence[Utterance], Sequence[Utterance]]:
    """What was said before, and the last message with all that followed from it."""
    last = max((place for place, line in enumerate(lines) if line.role == "user"), default=0)
    return lines[:last], lines[last:]


def _system(turn: Turn, told: Sequence[Utterance], prompt: str) -> str:
    own = [turn.request.instructions, *(line.content for line in told if line.role in _SPEAKING)]
    persona = f"You speak as {turn.persona_id}." if turn.persona_id else ""
    rule = RESULTS_ARE_DATA if turn.steps else ""
    return "\n\n".join(filter(None, ("\n\n".join(filter(None, own)) or prompt, persona, rule)))


def _offered(turn: Turn, able: Sequence[Profile], tooling: Tooling) -> Sequence[ToolOffer]:
    """A toy cannot make a sensible call: it is offered none of ours."""
    return turn.request.tools if all(each.is_toy for each in able) else offers(turn, tooling)


def _choice(turn: Turn, tools: Sequence[ToolOffer]) -> Any:
    """Once a tool was called as wished, the model may go on as it likes."""
    return turn.request.tool_choice if tools and not turn.steps else None

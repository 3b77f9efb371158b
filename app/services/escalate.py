"""The answer to a prepared turn, from a stronger model where there is a reason for one or the model asks for it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.domain.conversation_control import Stop
from app.domain.dialogue import Answer, Escalation, ModelCall, Piece, Usage
from app.domain.escalation import ESCALATE, wished_by_model
from app.domain.model_ports import Model
from app.domain.profiles import Profile, ProfileRole
from app.services.ask_model import ask_model
from app.services.choose_profiles import Choice

_SEAM = "\n\n"


def ask_chosen(choice: Choice, call: ModelCall, stop: Stop, model: Model) -> Iterator[Piece]:
    """The pieces; the last one says, where it was a matter of escalation, who answered and why."""
    for piece in ask_model(choice.profiles, _offering(choice, call), stop, model):
        if piece.answer is None:
            yield piece
        elif choice.stronger and (reason := wished_by_model(piece.answer.asks)):
            yield from _go_on(piece.answer, ask_model(choice.stronger, call, stop, model), choice, reason)
        else:
            yield Piece(piece.text, _noted(piece.answer, choice.profiles, choice.reason))


def _offering(choice: Choice, call: ModelCall) -> ModelCall:
    """Where a certain tool is insisted on, or none is wanted, ours is not offered."""
    if not choice.stronger or call.tool_choice not in (None, "auto"):
        return call
    return replace(call, tools=(*call.tools, ESCALATE))


def _go_on(first: Answer, pieces: Iterator[Piece], choice: Choice, reason: str) -> Iterator[Piece]:
    """What was said before stays: readers have seen it."""
    before = f"{first.text}{_SEAM}" if first.text else ""
    if before:
        yield Piece(_SEAM)
    for piece in pieces:
        if piece.answer is None:
            yield piece
            continue
        answer = _noted(piece.answer, choice.stronger, reason)
        yield Piece("", replace(answer, text=before + answer.text, usage=_sum(first.usage, answer.usage)))


def _noted(answer: Answer, profiles: Sequence[Profile], reason: str | None) -> Answer:
    if reason is None:
        return answer
    strong = {profile.name for profile in profiles if profile.role is ProfileRole.ESCALATION}
    return replace(answer, escalation=Escalation(reason, answer.profile, answer.profile not in strong))


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens)

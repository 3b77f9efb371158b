"""Whether a model answers: one short question, and in words what came of it."""

from collections.abc import Callable
from typing import Protocol

from app.domain.conversation_control import NEVER
from app.domain.dialogue import Answer, ModelCall, ToolOffer, Usage, Utterance
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.model_ports import Model
from app.domain.profiles import Profile, Trial

_ECHO = ToolOffer(
    "echo",
    "Says a text again",
    {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)
_QUESTION = Utterance("user", 'Call the tool "echo" with the text "hello". If you have no tools, say hello.')
_MOST_TOKENS = 256
_MOST_SHOWN = 200


class Examinee(Model, Protocol):
    """A model that can tell how it had to be asked."""

    def takes_tools(self, profile: Profile) -> bool:
        """Whether this endpoint took the tools that it was last offered."""


def try_profile(profile: Profile, model: Examinee, monotonic: Callable[[], float]) -> Trial:
    """Ask it once, within the deadlines of `model`."""
    began = monotonic()
    first: float | None = None
    call = ModelCall([_QUESTION], (_ECHO,), "auto", min(profile.output_tokens, _MOST_TOKENS))
    try:
        for piece in model.stream(profile, call, NEVER):
            first = first or monotonic() - began
            if piece.answer is not None:
                times = round((first or 0) * 1000), round((monotonic() - began) * 1000)
                return _trial(piece.answer, times, model.takes_tools(profile))
    except (ModelUnavailable, ModelRefused) as error:
        return Trial(False, str(error), total_ms=round((monotonic() - began) * 1000))
    return Trial(False, "The model broke off in the middle of its answer.")


def _trial(answer: Answer, times: tuple[int, int], took_tools: bool) -> Trial:
    first_ms, total_ms = times
    tools = "used" if answer.asks else "taken" if took_tools else "refused"
    reports = answer.usage != Usage()
    counts = "reports" if reports else "does not report"
    words = {"used": "calls tools", "taken": "takes tools but called none", "refused": "takes no tools"}
    detail = (
        f"{answer.source} answered in {total_ms} ms, its first token after {first_ms} ms."
        f" It {counts} how many tokens it used, and {words[tools]}."
    )
    said = answer.text[:_MOST_SHOWN] or None
    return Trial(True, detail, answer.source, said, first_ms, total_ms, reports, tools)

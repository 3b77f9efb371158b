"""When a stronger model should answer: as somebody says, by light rules, or because the model asks for it. Pure."""

import json
from collections.abc import Collection, Mapping, Sequence

from app.domain.conversation import Scalar
from app.domain.dialogue import ToolAsk, ToolOffer

RISKY_TAGS = frozenset({"health", "law"})
MANY_QUESTIONS = 4
LONG_CHARACTERS = 8_000
_LONGEST_REASON = 300
_QUESTION_SIGNS = "?？؟"

ESCALATE = ToolOffer(
    "escalate",
    "Hand this message to a stronger model, when it is too hard or too risky for you to answer well.",
    {
        "type": "object",
        "properties": {"reason": {"type": "string", "description": "why, in one sentence"}},
        "required": ["reason"],
    },
)


def reason_to_escalate(text: str, tags: Collection[str], metadata: Mapping[str, Scalar]) -> str | None:
    """Why this message deserves a stronger model; None where it does not, or where `escalate` is false."""
    wished = metadata.get("escalate")
    if wished is not None:
        return "it was asked for" if str(wished).lower() in ("true", "1", "yes") else None
    for name in ("risk", "complexity"):
        if str(metadata.get(name)).lower() in ("high", "critical"):
            return f"{name} is {metadata[name]}"
    return _by_rules(text, tags)


def _by_rules(text: str, tags: Collection[str]) -> str | None:
    risky = sorted(RISKY_TAGS.intersection(tags))
    if risky:
        return f"it is about {' and '.join(risky)}"
    if sum(text.count(sign) for sign in _QUESTION_SIGNS) >= MANY_QUESTIONS:
        return "it asks many questions at once"
    return "it is long" if len(text) >= LONG_CHARACTERS else None


def wished_by_model(asks: Sequence[ToolAsk]) -> str | None:
    """The reason for which a model asks to be relieved; None where it does not."""
    ask = next((ask for ask in asks if ask.tool == ESCALATE.name), None)
    if ask is None:
        return None
    try:
        said = json.loads(ask.arguments)
    except (ValueError, RecursionError):
        said = None
    reason = said.get("reason") if isinstance(said, dict) else None
    return str(reason or "the model asked for it")[:_LONGEST_REASON]

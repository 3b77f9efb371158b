"""What goes to a model and what comes back: lines, the tools it is offered, the calls it asks for, its answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.tokens import estimate_tokens

_LINE_TOKENS = 4
"""What a line costs beyond its words: its role and its end."""


@dataclass(frozen=True, slots=True)
class ToolAsk:
    """A call that a model asks for; `arguments` is what it wrote, which should be JSON."""

    ask_id: str
    tool: str
    arguments: str


def estimate_asks(asks: Sequence[ToolAsk]) -> int:
    """Tokens of these calls, as a model writes and reads them."""
    return sum(estimate_tokens(ask.tool) + estimate_tokens(ask.arguments) for ask in asks)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of a conversation as a model reads it; `role` is system, user, assistant or tool.

    An assistant's line may ask for tools; a tool's line `answers` one of those asks.
    """

    role: str
    content: str
    asks: tuple[ToolAsk, ...] = ()
    answers: str | None = None

    @property
    def tokens(self) -> int:
        """An estimate, of the line with all that belongs to it."""
        return _LINE_TOKENS + estimate_tokens(self.content) + estimate_asks(self.asks)


def tokens_of(lines: Sequence[Utterance]) -> int:
    """An estimate for all of them."""
    return sum(line.tokens for line in lines)


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """A tool that a model may ask for; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def tokens(self) -> int:
        """An estimate: a model reads the offer as JSON."""
        # Not `asdict`: it copies the whole schema.
        offer = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return estimate_tokens(json.dumps(offer, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class ModelCall:
    """Everything that one call of a model says. What is None, or not among the `options`, is for its profile to say.

    `options` are further fields of the endpoint's request, as its interface names them.
    """

    lines: Sequence[Utterance]
    tools: Sequence[ToolOffer] = ()
    tool_choice: Any = None
    output_tokens: int | None = None
    temperature: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str | None = None

    @property
    def input_tokens(self) -> int:
        """An estimate of all that the model is told."""
        return tokens_of(self.lines) + sum(tool.tokens for tool in self.tools)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model's endpoint reported them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Escalation:
    """Why a stronger model was to answer, and which one did; `fell_back` where none of the strong ones was there."""

    reason: str
    profile: str
    fell_back: bool = False

    def as_json(self) -> dict[str, str | bool]:
        """As the last event keeps it."""
        return {"profile": self.profile, "reason": self.reason, **({"fell_back": True} if self.fell_back else {})}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer and where it came from: `source` is the model's name, `profile` that of its profile, `finish` why
    it ended there (`stop`, `length`, `tool_calls`, `content_filter`).
    """

    text: str
    source: str
    usage: Usage = Usage()
    asks: tuple[ToolAsk, ...] = ()
    finish: str = "stop"
    profile: str = ""
    escalation: Escalation | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a model's answer; the last one carries `answer`, the whole."""

    text: str
    answer: Answer | None = None

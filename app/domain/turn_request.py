"""What a message asks for besides an answer in words, as the turn's row keeps it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.domain.dialogue import ToolAsk, ToolOffer, Utterance


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """How this turn differs from an ordinary one; without anything it does not.

    `lines` is the conversation as the caller tells it, in place of the session's history, and `instructions` take the
    place of the system prompt; `tools` are the caller's own: a call of one ends the turn, for only the caller can run
    it. `options` are passed on to the endpoint as they are. `echo` is told again with the answer.
    """

    lines: tuple[Utterance, ...] = ()
    tools: tuple[ToolOffer, ...] = ()
    tool_choice: Any = None
    output_tokens: int | None = None
    temperature: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    instructions: str = ""
    echo: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `request_of` reads; only what was said."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), {}, "")}


ORDINARY = TurnRequest()


def request_of(kept: Mapping[str, Any]) -> TurnRequest:
    """The request that a row keeps."""
    lines = tuple(_line(line) for line in kept.get("lines", ()))
    tools = tuple(ToolOffer(**tool) for tool in kept.get("tools", ()))
    return TurnRequest(**{**kept, "lines": lines, "tools": tools})


def _line(kept: Mapping[str, Any]) -> Utterance:
    return Utterance(**{**kept, "asks": tuple(ToolAsk(**ask) for ask in kept["asks"])})

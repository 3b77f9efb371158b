"""`remember`: keeps something for later conversations, beside what every message and answer becomes."""

from typing import Annotated, Any

from pydantic import Field

from app.domain.tool_ports import CallersMemories
from app.domain.tools import Effect, ToolCall
from app.tools.built_in import Arguments
from app.tools.inside import InsideTool

Tag = Annotated[str, Field(min_length=1, max_length=64)]


class RememberArguments(Arguments):
    """What is worth keeping."""

    content: Annotated[str, Field(min_length=1, max_length=8_000, description="What to remember, in whole sentences")]
    tags: Annotated[list[Tag], Field(default_factory=list, max_length=16, description="Words to sort it by")]


def remember(arguments: RememberArguments, call: ToolCall, memories: CallersMemories) -> dict[str, Any]:
    """Kept under an id that this call always has, so that a repetition keeps nothing twice."""
    return memories.remember(call, arguments.content, arguments.tags)


_WHAT = "Keeps a fact for this and later conversations."
TOOLS = (InsideTool("remember", _WHAT, Effect.IDEMPOTENT, RememberArguments, remember),)

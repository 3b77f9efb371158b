"""`recall`: what is remembered about a question, from whatever conversation it comes."""

from typing import Annotated, Any

from pydantic import Field

from app.domain.tool_ports import CallersMemories
from app.domain.tools import Effect, ToolCall
from app.tools.built_in import Arguments
from app.tools.inside import InsideTool


class RecallArguments(Arguments):
    """What is looked for."""

    query: Annotated[str, Field(min_length=1, max_length=1_000, description="What to look for, in words")]
    top_k: Annotated[int, Field(ge=1, le=20, description="How many memories at most")] = 5


def recall(arguments: RecallArguments, call: ToolCall, memories: CallersMemories) -> dict[str, Any]:
    """The best ones first."""
    return memories.recall(call, arguments.query, arguments.top_k)


_WHAT = "Finds what was said or remembered before, in this and in earlier conversations."
TOOLS = (InsideTool("recall", _WHAT, Effect.READ, RecallArguments, recall),)

"""`echo`: says what it was told; for trying the way of a tool call from end to end."""

from typing import Annotated

from pydantic import Field

from app.domain.tools import Effect
from app.tools.built_in import Arguments, BuiltInTool


class EchoArguments(Arguments):
    """What to say."""

    text: Annotated[str, Field(max_length=8_000, description="What to say")]


def echo(arguments: EchoArguments) -> dict[str, str]:
    """The text again."""
    return {"text": arguments.text}


TOOLS = (BuiltInTool("echo", "Says again what it is told.", Effect.READ, EchoArguments, echo),)

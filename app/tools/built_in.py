"""What a tool of ours is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.domain.tools import Effect


class Arguments(BaseModel):
    """Arguments of a tool: unknown ones are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class BuiltInTool:
    """`Tool`."""

    name: str
    description: str
    effect: Effect
    arguments: type[BaseModel]
    run: Callable[[Any], Any]

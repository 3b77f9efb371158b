"""Two tools that take their time and leave a line for every run: what a drill needs in order to count effects.

They come into a stack as `TOOL_MODULES=drills.slow_tool`. The lines go to the file that `SLOW_TOOL_LEDGER` names, by
default `slow-tool.ledger` where the tools run.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

LEDGER = "slow-tool.ledger"


class SlowArguments(BaseModel):
    """How long, and under which name its line is written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seconds: Annotated[float, Field(ge=0, le=60)]
    mark: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


@dataclass(frozen=True, slots=True)
class SlowTool:
    """What the product asks of a tool."""

    name: str
    description: str
    effect: str
    arguments: type[BaseModel]
    run: Callable[[Any], Any]


def write_and_sleep(arguments: SlowArguments) -> dict[str, Any]:
    """The effect comes first, so that a run that is broken off has had it."""
    with open(os.environ.get("SLOW_TOOL_LEDGER") or LEDGER, "a", encoding="utf-8") as ledger:
        ledger.write(f"{arguments.mark}\n")
    time.sleep(arguments.seconds)
    return {"slept": arguments.seconds, "mark": arguments.mark}


TOOLS = (
    SlowTool("slow_write", "Writes a line, then sleeps.", "write", SlowArguments, write_and_sleep),
    SlowTool("slow_again", "The same, and may be repeated.", "idempotent", SlowArguments, write_and_sleep),
)

"""Tools that need the memories of whoever asks: they are ours, wait for nobody long, and run inside the worker.

A process of its own would need our addresses and secrets, which no tool is given.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from app.domain.errors import Rejected, Retryable
from app.domain.tool_ports import CallersMemories, How, ToolRun, ToolRunner
from app.domain.tools import Effect, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class InsideTool:
    """`Tool` whose `run` gets its arguments, the call, and the memories of whoever asked for it."""

    name: str
    description: str
    effect: Effect
    arguments: type[BaseModel]
    run: Callable[[Any, ToolCall, CallersMemories], Any]


class InsideTools:
    """`ToolRunner` that runs these tools itself and has every other one run by `others`."""

    def __init__(self, toolbox: Mapping[str, Tool], memories: CallersMemories, others: ToolRunner) -> None:
        self._tools = {name: tool for name, tool in toolbox.items() if isinstance(tool, InsideTool)}
        self._memories = memories
        self._others = others

    def run(self, call: ToolCall, stopping: Callable[[], bool], grace_seconds: float) -> ToolRun:
        """To its end, which comes within seconds whatever is asked to stop."""
        tool = self._tools.get(call.tool)
        if tool is None:
            return self._others.run(call, stopping, grace_seconds)
        began = time.monotonic()
        how, value, reason = self._run(tool, call)
        return ToolRun(how, time.monotonic() - began, value, reason)

    def _run(self, tool: InsideTool, call: ToolCall) -> tuple[How, Any, str]:
        try:
            arguments = tool.arguments.model_validate(dict(call.args))
            return How.ANSWERED, tool.run(arguments, call, self._memories), ""
        except ValidationError:
            return How.FAILED, None, "The arguments no longer fit this tool."
        except Rejected as error:
            return How.FAILED, None, str(error)
        except Retryable as error:
            return How.BROKEN, None, str(error)

"""What a tools worker needs."""

from collections.abc import Callable

from app.adapters.sql.tool_calls import SqlToolCalls
from app.adapters.tool_process import ToolProcesses
from app.domain.tools import Toolbox
from app.services.run_tool import ToolMeter, Workbench
from app.settings import Settings
from app.tools.loading import load_tools
from app.wiring.process import Process


def toolbox_of(settings: Settings) -> Toolbox:
    """Every tool of this installation; `Misconfigured` where `TOOL_MODULES` names something else."""
    return load_tools(settings.tool_modules)


def tool_calls_of(process: Process) -> SqlToolCalls:
    """The tool calls, under this process's leases."""
    return SqlToolCalls(process.engine, process.presence, process.settings.lease_seconds)


def workbench_of(process: Process, stopping: Callable[[], bool], meter: ToolMeter) -> Workbench:
    """The parts of a tool call, on this process's connections and leases."""
    settings, defaults = process.settings, process.memory_defaults
    return Workbench(
        calls=tool_calls_of(process),
        runner=ToolProcesses(settings.tool_modules, settings.tool_executor_timeout),
        broadcast=process.broadcast,
        doorbell=process.doorbell,
        clock=process.clock,
        stopping=stopping,
        memories=(defaults.universe, defaults.namespace) if defaults else None,
        present=process.presence.is_known,
        meter=meter,
    )

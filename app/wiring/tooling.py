"""What a tools worker needs."""

from collections.abc import Callable

from app.adapters.http.brain import HttpBrain
from app.adapters.sql.tool_calls import SqlToolCalls
from app.adapters.tool_process import ToolProcesses
from app.domain.tool_ports import ToolRunner
from app.domain.tools import Toolbox
from app.services.keep_memories import MemoryDoor
from app.services.plan_step import Tooling
from app.services.run_tool import ToolMeter, Workbench
from app.services.serve_memory_tools import MemoriesOfCalls
from app.settings import Settings
from app.tools.inside import InsideTools
from app.tools.loading import load_tools
from app.wiring.deciding import policy_of
from app.wiring.process import Process
from app.wiring.remembering import ledger_of, memory_plane_of, recall_of

_BRAIN_SECONDS = 1.5
"""What a call of a memory tool spends on SomaBrain at most; what is kept by then is owed to it."""


def toolbox_of(settings: Settings) -> Toolbox:
    """Every tool of this installation; `Misconfigured` where `TOOL_MODULES` names something else."""
    return load_tools(settings.tool_modules)


def tooling_of(settings: Settings) -> Tooling:
    """What a model may ask for."""
    return Tooling(
        toolbox_of(settings) if settings.llm_tools else {},
        settings.tool_max_steps,
        settings.tool_max_parallel,
        settings.tool_result_chars,
    )


def tool_calls_of(process: Process) -> SqlToolCalls:
    """The tool calls, under this process's leases."""
    return SqlToolCalls(process.engine, process.presence, process.settings.lease_seconds)


def workbench_of(process: Process, stopping: Callable[[], bool], meter: ToolMeter) -> Workbench:
    """The parts of a tool call, on this process's connections and leases."""
    defaults = process.memory_defaults
    return Workbench(
        calls=tool_calls_of(process),
        runner=_runner_of(process),
        broadcast=process.broadcast,
        doorbell=process.doorbell,
        clock=process.clock,
        stopping=stopping,
        memories=(defaults.universe, defaults.namespace) if defaults else None,
        policy=policy_of(process.settings, process.clock),
        present=process.presence.is_known,
        meter=meter,
    )


def _runner_of(process: Process) -> ToolRunner:
    settings = process.settings
    processes = ToolProcesses(settings.tool_modules, settings.tool_executor_timeout)
    return InsideTools(toolbox_of(settings), _memories_of(process), processes)


def _memories_of(process: Process) -> MemoriesOfCalls:
    settings = process.settings
    brain = HttpBrain.from_settings(settings, most_seconds=_BRAIN_SECONDS)
    return MemoriesOfCalls(
        door=MemoryDoor(ledger_of(process), memory_plane_of(process, brain, _BRAIN_SECONDS)),
        found=recall_of(process, brain, settings.soma_recall_seconds),
        clock=process.clock,
        universe=settings.soma_namespace,
        namespace=settings.soma_memory_namespace,
    )

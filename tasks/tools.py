"""Queue `tools`: one task per tool call."""

import sys
from functools import lru_cache
from typing import Any

from celery.signals import worker_init

from app.domain.errors import Misconfigured
from app.routing import TaskName
from app.services.run_tool import ToolMeter, Workbench, run_tool
from app.settings import settings
from app.telemetry.metrics import POLICY_DECISIONS, TOOL_INFLIGHT, TOOL_REQUESTS, TOOL_REQUEUES, TOOL_SECONDS
from app.wiring.deciding import check_policy
from app.wiring.process import this_process
from app.wiring.tooling import toolbox_of, workbench_of
from tasks.application import celery
from tasks.base import ServiceTask
from tasks.process import SHUTTING_DOWN


@celery.task(name=TaskName.EXECUTE_TOOL, base=ServiceTask)  # type: ignore[untyped-decorator]
def execute(call_id: str) -> str:
    """Run this call, if it is due and nobody else does."""
    return run_tool(call_id, _workbench())


@worker_init.connect  # type: ignore[untyped-decorator]
def _know_what_may_run(**_: Any) -> None:
    try:
        toolbox_of(settings())
        check_policy(settings())
    except Misconfigured as error:
        sys.exit(f"{settings().process_name}: {error}")


@lru_cache(maxsize=1)
def _workbench() -> Workbench:
    meter = ToolMeter(_count_end, _count_return, _count_running, _count_decision)
    return workbench_of(this_process(), SHUTTING_DOWN.is_set, meter)


def _count_end(tool: str, outcome: str, seconds: float) -> None:
    TOOL_REQUESTS.labels(tool, outcome).inc()
    TOOL_SECONDS.labels(tool).observe(seconds)


def _count_return(tool: str, reason: str) -> None:
    TOOL_REQUEUES.labels(tool, reason).inc()


def _count_running(tool: str, change: int) -> None:
    TOOL_INFLIGHT.labels(tool).inc(change)


def _count_decision(tool: str, decision: str) -> None:
    POLICY_DECISIONS.labels(tool, decision).inc()

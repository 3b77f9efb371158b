"""Queue `maintenance`: the sweep, the probe, the measures, the pruning, the proofs."""

from collections.abc import Mapping
from functools import lru_cache

from app.routing import TaskName
from app.services.measure import measure
from app.services.probe_brain import probe_brain
from app.services.prove_memories import prove_slice
from app.services.rebuild_brain import Remembering, remember_slice
from app.services.sweep import Due, sweep
from app.telemetry.metrics import WORK_SWEPT
from app.wiring.delivering import memory_plane, tool_calls, turns
from app.wiring.exporting import export_jobs
from app.wiring.process import this_process
from app.wiring.proving import proof_desk, proving
from app.wiring.rebuilding import remembering_of
from tasks.application import celery
from tasks.base import ServiceTask
from tasks.process import SHUTTING_DOWN


@celery.task(name=TaskName.SWEEP, base=ServiceTask)  # type: ignore[untyped-decorator]
def sweep_work() -> dict[str, int]:
    """Free what the dead held, of budgets too, and ring for what is due."""
    process = this_process()
    freed = sweep(process.upkeep, _owed_one_by_one(), process.doorbell)
    for kind, rows in freed.items():
        WORK_SWEPT.labels(kind).inc(rows)
    WORK_SWEPT.labels("reservation").inc(process.spending.return_unclaimed())
    return freed


@lru_cache(maxsize=1)
def _owed_one_by_one() -> Mapping[TaskName, Due]:
    return {
        TaskName.RESPOND: turns(),
        TaskName.EXECUTE_TOOL: tool_calls(),
        TaskName.EXPORT: export_jobs(),
        TaskName.RECONCILE: proof_desk(),
    }


@celery.task(name=TaskName.PROBE_BRAIN, base=ServiceTask)  # type: ignore[untyped-decorator]
def probe() -> int:
    """Wake the backlog as soon as SomaBrain is back."""
    return probe_brain(memory_plane(), this_process().notes)


@celery.task(name=TaskName.MEASURE_DLQ, base=ServiceTask)  # type: ignore[untyped-decorator]
def measure_backlogs() -> None:
    """Set the gauges of everything that is owed."""
    process = this_process()
    measure(process.upkeep, process.settings.memory_wal_topic, process.settings.memory_wal_partitions)


@celery.task(name=TaskName.PRUNE, base=ServiceTask)  # type: ignore[untyped-decorator]
def prune() -> int:
    """Drop what is finished and old."""
    return this_process().upkeep.prune()


@celery.task(name=TaskName.REBUILD_BRAIN, base=ServiceTask)  # type: ignore[untyped-decorator]
def rebuild_brain() -> bool:
    """Have SomaBrain remember a stretch of the rebuilt replica, then ring for the next one."""
    more = remember_slice(_remembering())
    if more:
        this_process().doorbell.ring(TaskName.REBUILD_BRAIN)
    return more


@lru_cache(maxsize=1)
def _remembering() -> Remembering:
    return remembering_of(this_process(), memory_plane().brain, SHUTTING_DOWN.is_set)


@celery.task(name=TaskName.RECONCILE, base=ServiceTask)  # type: ignore[untyped-decorator]
def reconcile(job_id: str) -> bool:
    """Work on this proof for one slice."""
    return prove_slice(proving(SHUTTING_DOWN.is_set), job_id)

"""Queue `maintenance`: the sweep, the probe, the measures, the pruning."""

from app.routing import TaskName
from app.services.measure import measure
from app.services.probe_brain import probe_brain
from app.services.sweep import sweep
from app.telemetry.metrics import WORK_SWEPT
from app.wiring import wiring
from tasks.application import celery
from tasks.base import ServiceTask


@celery.task(name=TaskName.SWEEP, base=ServiceTask)  # type: ignore[untyped-decorator]
def sweep_work() -> dict[str, int]:
    """Free what the dead held and ring for what is due."""
    plane = wiring()
    freed = sweep(plane.upkeep, plane.turns, plane.doorbell)
    for kind, rows in freed.items():
        WORK_SWEPT.labels(kind).inc(rows)
    return freed


@celery.task(name=TaskName.PROBE_BRAIN, base=ServiceTask)  # type: ignore[untyped-decorator]
def probe() -> int:
    """Wake the backlog as soon as SomaBrain is back."""
    return probe_brain(wiring().memory_plane, wiring().notes)


@celery.task(name=TaskName.MEASURE_DLQ, base=ServiceTask)  # type: ignore[untyped-decorator]
def measure_backlogs() -> None:
    """Set the gauges of everything that is owed."""
    plane = wiring()
    measure(plane.upkeep, plane.settings.memory_wal_topic, plane.settings.memory_wal_partitions)


@celery.task(name=TaskName.PRUNE, base=ServiceTask)  # type: ignore[untyped-decorator]
def prune() -> int:
    """Drop what is finished and old."""
    return wiring().upkeep.prune()

"""Queue `maintenance`: schedules whose time has come."""

from app.routing import TaskName
from app.services.run_schedules import run_due_schedules
from app.telemetry.metrics import SCHEDULE_RUNS
from app.wiring.scheduling import timetable
from tasks.application import celery
from tasks.base import ServiceTask


@celery.task(name=TaskName.RUN_SCHEDULES, base=ServiceTask)  # type: ignore[untyped-decorator]
def run_schedules() -> int:
    """Send every message whose time has come."""
    outcomes = run_due_schedules(timetable())
    for outcome, times in outcomes.items():
        SCHEDULE_RUNS.labels(outcome).inc(times)
    return outcomes.total()

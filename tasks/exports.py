"""Queue `maintenance`: export jobs, a slice of time after another."""

from functools import lru_cache

from app.routing import TaskName
from app.services.run_export import ExportOffice, run_export
from app.telemetry.metrics import EXPORT_JOBS
from app.wiring.exporting import export_office_of
from app.wiring.process import this_process
from tasks.application import celery
from tasks.base import ServiceTask
from tasks.process import SHUTTING_DOWN


@celery.task(name=TaskName.EXPORT, base=ServiceTask)  # type: ignore[untyped-decorator]
def run(job_id: str) -> str:
    """Work on this job for a slice, if nobody works on one."""
    return run_export(job_id, _office())


@lru_cache(maxsize=1)
def _office() -> ExportOffice:
    return export_office_of(this_process(), SHUTTING_DOWN.is_set, lambda result: EXPORT_JOBS.labels(result).inc())

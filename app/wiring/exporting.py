"""What exports need: the worker that makes them, and the gateway that streams them or hands them out."""

from collections.abc import Callable
from functools import lru_cache

from sqlalchemy import Engine

from app.adapters.sql.engine import create_engine
from app.adapters.sql.export_jobs import SqlExportJobs
from app.adapters.sql.patience import Patience
from app.services.run_export import ExportOffice
from app.wiring.process import Process, this_process

EXPORTING = Patience(greeting_seconds=1.2, silence_seconds=62.0)
"""Counting and sorting for an export may take a minute; the server's own `statement_timeout` speaks first."""


def export_engine(process: Process, pool_size: int) -> Engine:
    """Connections for exports, apart from those that people wait for."""
    dsn = process.settings.postgres_dsn.get_secret_value()
    return create_engine(dsn, pool_size, f"{process.name} export", EXPORTING)


def export_jobs_of(process: Process) -> SqlExportJobs:
    """The export jobs, under this process's leases."""
    settings = process.settings
    return SqlExportJobs(
        export_engine(process, 2),
        process.presence,
        settings.lease_seconds,
        settings.memory_export_max_bytes,
        settings.memory_export_keep_hours,
    )


def export_office_of(process: Process, stopping: Callable[[], bool], ended: Callable[[str], None]) -> ExportOffice:
    """The parts of an export job, on this process's leases."""
    return ExportOffice(
        jobs=export_jobs_of(process),
        doorbell=process.doorbell,
        clock=process.clock,
        stopping=stopping,
        present=process.presence.is_known,
        ended=ended,
        page_rows=process.settings.memory_export_page_size,
    )


@lru_cache(maxsize=1)
def export_jobs() -> SqlExportJobs:
    """The export jobs, for the sweep."""
    return export_jobs_of(this_process())

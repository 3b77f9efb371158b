"""A worker process's life: logging, schema check, presence, metrics; children of a fork begin afresh."""

import sys
import threading
from typing import Any

from celery.signals import setup_logging, worker_init, worker_process_init, worker_ready, worker_shutting_down
from prometheus_client import start_http_server

from app.domain.errors import Misconfigured
from app.settings import settings
from app.telemetry.logs import configure_logging
from app.wiring.process import this_process

SHUTTING_DOWN = threading.Event()
"""Set once this worker was asked to end; long tasks look at it and stop early."""


@setup_logging.connect  # type: ignore[untyped-decorator]
def _log(**_: Any) -> None:
    configure_logging(settings().log_level, settings().process_name or "worker")


# Not `celeryd_init`: that one is sent before `--include` has imported this module.
@worker_init.connect  # type: ignore[untyped-decorator]
def _check(**_: Any) -> None:
    try:
        this_process().check_schema()
    except Misconfigured as error:
        sys.exit(f"{settings().process_name}: {error}")


@worker_ready.connect  # type: ignore[untyped-decorator]
def _appear(**_: Any) -> None:
    if settings().metrics_port:
        start_http_server(settings().metrics_port, settings().bind_host)
    this_process().presence  # noqa: B018 - the first look at it starts the heartbeat


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _after_fork(**_: Any) -> None:
    # The parent's connections are the parent's: a child that closed them would close them for both.
    this_process.cache_clear()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _hurry(**_: Any) -> None:
    SHUTTING_DOWN.set()

"""How gunicorn serves the memory service: `gunicorn --config python:app.brain.server "app.brain.app:create_app()"`.

Each public name below is a setting of gunicorn. Nothing imported here may import prometheus_client: it decides at its
import whether processes share their metrics, and `raw_env` is in force only after this file was read.
"""

import shutil
import sys
import tempfile
from typing import Any

from app.settings import Misconfigured, settings
from app.telemetry.logs import configure_logging

_chosen = settings()
_shared_metrics = ""
if _chosen.brain_workers > 1:
    _shared_metrics = _chosen.metrics_dir or tempfile.mkdtemp(prefix="brain-metrics-")

bind = f"{_chosen.bind_host}:{_chosen.brain_port}"
proc_name = "brain"
worker_class = "app.adapters.http.courteous_worker.CourteousWorker"
workers = _chosen.brain_workers
threads = 16
keepalive = 75
timeout = 30
graceful_timeout = 5
loglevel = "warning"
control_socket_disable = True
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_shared_metrics}"] if _shared_metrics else []


def on_starting(_server: Any) -> None:
    """Refuse to start without a place to keep memories, before any port is open."""
    try:
        _chosen.require("postgres_dsn")
    except Misconfigured as error:
        sys.exit(f"brain: {error}")


def post_worker_init(worker: Any) -> None:
    """Runs in each worker process before its first request."""
    configure_logging(_chosen.log_level, _chosen.process_name or "brain")
    worker.wsgi.extensions["brain_upkeep"].start()


def worker_exit(_server: Any, worker: Any) -> None:
    """Runs in each worker process after its last request; one that could not be loaded has nothing to end."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["brain_upkeep"].stop()


def on_exit(_server: Any) -> None:
    """Leave no folder of ours behind."""
    if _shared_metrics and not _chosen.metrics_dir:
        shutil.rmtree(_shared_metrics, ignore_errors=True)

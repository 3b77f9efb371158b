"""How gunicorn serves the gateway: `gunicorn --config python:app.gateway.server "app.gateway.app:create_app()"`.

Each name below is a setting of gunicorn. Threads, never gevent: large websocket frames would be cut there.
Nothing imported here may import prometheus_client: it decides at its import whether processes share their metrics,
and `raw_env` is in force only after this file was read.

The application is loaded once, before the port opens, and workers are forks of it. So a port that is open is answered
at once, a worker that died or is to be renewed (SIGHUP) is replaced in milliseconds, and its memory is shared. A new
version needs a new process: SIGHUP begins the same code anew.
"""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from app.adapters.http.open_streams import announce_stop
from app.adapters.sql.engine import create_engine
from app.adapters.sql.revision import schema_revision
from app.services.know_schema import wait_for_schema
from app.settings import Misconfigured, settings
from app.tools.loading import load_tools
from app.wiring.deciding import check_policy

_chosen = settings()
_shared_metrics = _chosen.metrics_dir or tempfile.mkdtemp(prefix="gateway-metrics-")

bind = f"{_chosen.bind_host}:{_chosen.gateway_port}"
proc_name = "gateway"
worker_class = "app.adapters.http.courteous_worker.CourteousWorker"
workers = _chosen.gateway_workers
threads = _chosen.gateway_threads
worker_connections = max(1000, 4 * _chosen.gateway_threads)
# Longer than any client keeps an idle connection, so that it is never closed under a request on its way.
keepalive = 75
timeout = 60
graceful_timeout = 5
limit_request_line = 8190
loglevel = "warning"
control_socket_disable = True
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_shared_metrics}"]
post_worker_init = announce_stop


def on_starting(server: Any) -> None:
    """Refuse a schema that this version does not know and load the application, before any port is open."""
    try:
        load_tools(_chosen.tool_modules)
        check_policy(_chosen)
        _chosen.require("postgres_dsn", "redis_url")
        engine = create_engine(_chosen.postgres_dsn.get_secret_value(), 1, "gateway start")
        wait_for_schema(lambda: schema_revision(engine))
        engine.dispose()
    except Misconfigured as error:
        sys.exit(f"gateway: {error}")
    server.app.wsgi()
    # Workers count in files of their own; this process never counts.
    _forget(f"*_{os.getpid()}.db")
    # What is loaded stays loaded: a collector that went over it would copy every page into every worker.
    gc.collect()
    gc.freeze()


def child_exit(_server: Any, worker: Any) -> None:
    """What a worker counted stays; what it had open does not."""
    _forget(f"gauge_live*_{worker.pid}.db")


def _forget(metrics: str) -> None:
    for file in Path(_shared_metrics).glob(metrics):
        file.unlink(missing_ok=True)


def on_exit(_server: Any) -> None:
    """Leave no folder of ours behind."""
    if not _chosen.metrics_dir:
        shutil.rmtree(_shared_metrics, ignore_errors=True)

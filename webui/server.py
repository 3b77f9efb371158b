"""gunicorn's settings for the page's server: one process whose threads each hold at most one stream."""

from app.adapters.http.open_streams import announce_stop
from app.settings import settings

_settings = settings()

bind = f"{_settings.bind_host}:{_settings.agent_ui_port}"
proc_name = "webui"
worker_class = "app.adapters.http.courteous_worker.CourteousWorker"
workers = 1
threads = _settings.ui_threads
worker_connections = max(1000, 4 * _settings.ui_threads)
keepalive = 15
timeout = 60
graceful_timeout = 5
loglevel = _settings.log_level.lower()
control_socket_disable = True
post_worker_init = announce_stop

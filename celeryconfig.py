"""Celery's settings only: broker, queues, routes, beat. Why each is as it is: docs/adr and the comments here.

Truth is in Postgres; a Celery message is a hint that may be lost or doubled. So nothing is acknowledged late,
nothing is retried, delayed or stored here.
"""

from typing import Any

from kombu import Queue as KombuQueue

from app.adapters.celery_clock import every
from app.routing import QUEUE_OF, RING_EXPIRES, Queue, TaskName
from app.settings import settings

_settings = settings()
_settings.require("redis_url")

broker_url = _settings.redis_url.get_secret_value()
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {
    # A half-open connection would hang a worker silently; these bounds notice it within seconds.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 5,
    # The same for every app on this broker: the shortest one wins.
    "visibility_timeout": 3600,
    # Restoring what a killed worker had fetched is throttled to minutes by default.
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
}
result_backend = None
task_ignore_result = True
task_serializer = "json"
accept_content = ["json"]
task_create_missing_queues = False
task_queues = [KombuQueue(str(queue), routing_key=str(queue)) for queue in Queue]
task_default_queue = str(Queue.MAINTENANCE)
task_routes = {str(task): {"queue": str(queue)} for task, queue in QUEUE_OF.items()}
task_acks_late = False
worker_prefetch_multiplier = 1
# Of the workers that name none themselves.
worker_concurrency = _settings.conversation_concurrency
worker_hijack_root_logger = False
worker_send_task_events = True
worker_cancel_long_running_tasks_on_connection_loss = False
worker_soft_shutdown_timeout = 8
enable_utc = True
timezone = "UTC"


def _every(task: TaskName, seconds: float) -> dict[str, Any]:
    # `expires`: a stopped worker does not find a pile when it comes back.
    options = {"expires": RING_EXPIRES.get(task, seconds), "queue": QUEUE_OF[task]}
    return {"task": str(task), "schedule": every(seconds), "options": options}


beat_scheduler = "celery.beat:Scheduler"
beat_max_loop_interval = 1
beat_schedule = {
    "sync memories": _every(TaskName.SYNC_MEMORIES, _settings.memory_sync_interval_seconds),
    "drain outbox": _every(TaskName.DRAIN_OUTBOX, _settings.outbox_sync_interval_seconds),
    # A ring that a frozen or dying slot took is missed by the others for no longer than this.
    "replicate": _every(TaskName.REPLICATE_WAL, 1.0),
    # A rebuild rings for itself; these take it up again after a kill.
    "rebuild": _every(TaskName.REBUILD_WAL, 2.0),
    "rebuild brain": _every(TaskName.REBUILD_BRAIN, 2.0),
    "sweep": _every(TaskName.SWEEP, 1.0),
    "run schedules": _every(TaskName.RUN_SCHEDULES, 1.0),
    "deliver webhooks": _every(TaskName.DELIVER_WEBHOOKS, 1.0),
    "probe brain": _every(TaskName.PROBE_BRAIN, 1.0),
    "measure": _every(TaskName.MEASURE_DLQ, 5.0),
    "prune": _every(TaskName.PRUNE, 60.0),
}

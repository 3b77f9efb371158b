"""The doorbell: a Celery message by name, sent from a background thread. Losing it costs one sweep."""

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from app.adapters.background import Background
from app.routing import QUEUE_OF, TaskName

_Ring = tuple[TaskName, tuple[str, ...], float | None]


class CeleryDoorbell:
    """`Doorbell` over Celery; equal rings that wait are sent once."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._background = Background("doorbell", self._send, (RedisError, OSError, KombuError, CeleryError))

    def ring(self, task: TaskName, *ids: str, expires: float | None = None) -> None:
        """Have a worker look soon; a ring that finds no worker within `expires` seconds is forgotten."""
        self._background.put((task, ids), (task, ids, expires))

    def _send(self, ring: _Ring) -> None:
        task, ids, expires = ring
        self._app.send_task(task, args=ids, queue=QUEUE_OF[task], expires=expires, ignore_result=True, retry=False)

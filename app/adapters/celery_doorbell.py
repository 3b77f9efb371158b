"""The doorbell: a Celery message by name, sent from a background thread. Losing it costs one sweep."""

from collections.abc import Sequence

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from app.adapters.background import Background
from app.routing import QUEUE_OF, RING_EXPIRES, TaskName

_REST_SECONDS = 0.02
_Ring = tuple[TaskName, tuple[str, ...], float | None]


class CeleryDoorbell:
    """`Doorbell` over Celery; equal rings that wait are sent once."""

    def __init__(self, app: Celery, redis_url: str) -> None:
        self._app = app
        self._redis = Redis.from_url(redis_url, socket_connect_timeout=1, socket_timeout=1)
        self._background = Background("doorbell", self._send, (RedisError, OSError, KombuError, CeleryError))

    def ring(self, task: TaskName, *ids: str, expires: float | None = None) -> None:
        """Have a worker look soon; a ring that finds no worker within `expires` seconds is forgotten; unless said
        otherwise, within those of `RING_EXPIRES`.
        """
        # Who is rung for whatever is due finds more at the next ring: a burst of messages needs few of them.
        self._background.put((task, ids), (task, ids, expires), 0.0 if ids else _REST_SECONDS)

    def waiting(self, task: TaskName) -> int:
        """The length of the queue's list in Redis."""
        try:
            return self._redis.llen(QUEUE_OF[task])
        except (RedisError, OSError):
            return 0

    def _send(self, rings: Sequence[_Ring]) -> None:
        for ring in rings:
            self._send_one(*ring)

    def _send_one(self, task: TaskName, ids: tuple[str, ...], wanted: float | None) -> None:
        expires = wanted if wanted is not None else RING_EXPIRES.get(task)
        self._app.send_task(task, args=ids, queue=QUEUE_OF[task], expires=expires, ignore_result=True, retry=False)

"""Rings on a real Redis: which of them are forgotten when nobody heard them in time."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from app.adapters.celery_doorbell import CeleryDoorbell
from app.routing import QUEUE_OF, RING_EXPIRES, TaskName
from app.settings import Settings
from tests.builders import an_id
from tests.conftest import eventually


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield client


@pytest.fixture
def doorbell(settings: Settings) -> CeleryDoorbell:
    url = settings.redis_url.get_secret_value()
    return CeleryDoorbell(Celery("rings", set_as_current=False, broker=url), url)


def seconds_left(redis: Redis, task: TaskName, name: str) -> float | None:
    """How long the waiting ring with this argument can still be heard; None for ever."""

    def heads() -> list[dict[str, Any]]:
        waiting: Any = redis.lrange(QUEUE_OF[task], 0, -1)
        return [head for ring in waiting if name in (head := json.loads(ring)["headers"])["argsrepr"]]

    expires = eventually(heads)[0]["expires"]
    return None if expires is None else (datetime.fromisoformat(expires) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("task", RING_EXPIRES)
def test_a_ring_beside_work_that_goes_on_is_forgotten(redis: Redis, doorbell: CeleryDoorbell, task: TaskName) -> None:
    name = an_id()

    doorbell.ring(task, name)

    left = seconds_left(redis, task, name)
    assert left is not None
    assert left <= RING_EXPIRES[task]


def test_a_ring_for_somebodys_message_is_heard_however_late(redis: Redis, doorbell: CeleryDoorbell) -> None:
    name = an_id()

    doorbell.ring(TaskName.RESPOND, name)

    assert seconds_left(redis, TaskName.RESPOND, name) is None


def test_who_says_how_long_is_heard_so_long(redis: Redis, doorbell: CeleryDoorbell) -> None:
    name = an_id()

    doorbell.ring(TaskName.RESPOND, name, expires=20)

    assert 10 < (seconds_left(redis, TaskName.RESPOND, name) or 0) <= 20

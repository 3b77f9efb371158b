"""A wall clock that is set while we run neither deafens a worker, nor makes its rings stillborn, nor silences beat."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from celery.app.amqp import AMQP
from celery.beat import ScheduleEntry
from kombu.transport.virtual import Message
from kombu.utils.imports import symbol_by_name

from app.adapters.celery_clock import STEADY, SteadyCelery, every
from app.routing import TaskName
from tasks.base import ServiceTask

HOUR = 3600.0
EXPIRES_SECONDS = 5.0


@pytest.fixture
def jump() -> Iterator[Callable[[float], None]]:
    """Set the wall clock of this process so many seconds ahead."""
    travels: list[time_machine.travel] = []

    def to(seconds: float) -> None:
        travels.append(time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True))
        travels[-1].start()

    yield to
    for travel in reversed(travels):
        travel.stop()


@pytest.fixture
def app() -> SteadyCelery:
    """An application that rings nobody."""
    return SteadyCelery("clock", set_as_current=False, broker="memory://")


def ring(app: SteadyCelery) -> dict[str, Any]:
    """The headers of a ring made now."""
    amqp: AMQP = app.amqp
    headers: dict[str, Any] = amqp.as_task_v2("1", TaskName.SWEEP, expires=EXPIRES_SECONDS).headers
    return headers


def nothing() -> None:
    """What the task does."""


def is_expired(app: SteadyCelery, headers: dict[str, Any]) -> bool:
    """Whether a worker that hears this ring now takes it for expired."""
    task = app.task(base=ServiceTask, name="clock.nothing")(nothing)
    raw = {"body": "", "headers": headers, "properties": {"delivery_tag": "1", "delivery_info": {}}}
    message = Message(raw, channel=None)
    hearing = symbol_by_name(task.Request)
    request = hearing(message, app=app, task=task, headers=headers, decoded=True, body=([], {}, {}))
    return bool(request.maybe_expire())


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_worker_whose_clock_jumps_hears_the_rings_of_the_others(
    app: SteadyCelery, jump: Callable[[float], None], seconds: float
) -> None:
    headers = ring(app)

    jump(seconds)

    assert not is_expired(app, headers)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_the_rings_of_a_worker_whose_clock_jumps_are_heard_by_the_others(
    app: SteadyCelery, jump: Callable[[float], None], seconds: float
) -> None:
    jump(seconds)
    headers = ring(app)
    jump(-seconds)

    assert not is_expired(app, headers)


def test_a_ring_that_is_late_by_every_clock_is_not_heard(app: SteadyCelery) -> None:
    headers = ring(app) | {"expires": (STEADY.earliest() - timedelta(seconds=1)).isoformat()}

    assert is_expired(app, headers)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_beat_rings_no_later_and_no_more_often_after_its_clock_jumped(
    app: SteadyCelery, jump: Callable[[float], None], seconds: float
) -> None:
    entry = ScheduleEntry("prune", TaskName.PRUNE, schedule=every(60), app=app)

    jump(seconds)

    is_due, wait_seconds = entry.is_due()
    assert not is_due
    assert 50 < wait_seconds <= 60

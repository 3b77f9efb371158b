"""Queue `conversation`: one task per turn."""

import time

from app.routing import TaskName
from app.services.converse import converse
from app.telemetry.metrics import TURN_SECONDS, TURNS
from app.wiring.conversing import conversation
from tasks.application import celery
from tasks.base import ServiceTask


@celery.task(name=TaskName.RESPOND, base=ServiceTask)  # type: ignore[untyped-decorator]
def respond(event_id: str) -> str:
    """Answer this message, if it is due and nobody else does."""
    began = time.monotonic()
    result = converse(event_id, conversation())
    TURNS.labels(result).inc()
    TURN_SECONDS.labels("respond").observe(time.monotonic() - began)
    return result

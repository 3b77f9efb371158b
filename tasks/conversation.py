"""Queue `conversation`: one task per turn."""

import time
from functools import lru_cache

from app.domain.conversation import Usage
from app.routing import TaskName
from app.services.converse import Conversation, Meter, converse
from app.telemetry.metrics import FIRST_TOKEN_SECONDS, TOKENS, TURN_SECONDS, TURNS
from app.wiring.alone import in_own_process
from app.wiring.conversing import conversation_of
from app.wiring.process import this_process
from tasks.application import celery
from tasks.base import ServiceTask


@celery.task(name=TaskName.RESPOND, base=ServiceTask)  # type: ignore[untyped-decorator]
def respond(event_id: str) -> str:
    """Answer this message, if it is due and nobody else does."""
    began = time.monotonic()
    result = converse(event_id, _conversation())
    TURNS.labels(result).inc()
    TURN_SECONDS.labels("respond").observe(time.monotonic() - began)
    return result


@lru_cache(maxsize=1)
def _conversation() -> Conversation:
    meter = Meter(FIRST_TOKEN_SECONDS.observe, _count_tokens)
    return conversation_of(this_process(), meter, in_own_process(meter))


def _count_tokens(usage: Usage) -> None:
    TOKENS.labels("input").inc(usage.input_tokens)
    TOKENS.labels("output").inc(usage.output_tokens)

"""Queue `conversation`: one task per turn."""

import sys
import time
from functools import lru_cache
from typing import Any

from celery.signals import worker_init

from app.domain.dialogue import Usage
from app.domain.errors import Misconfigured
from app.routing import TaskName
from app.services.conversation import Conversation, Meter
from app.services.converse import converse
from app.services.summarize_session import Minutes, summarize_session
from app.settings import settings
from app.telemetry.metrics import BUDGET_REFUSED, FIRST_TOKEN_SECONDS, TOKENS, TURN_SECONDS, TURNS
from app.wiring.alone import in_own_process
from app.wiring.conversing import conversation_of, minutes_of
from app.wiring.deciding import check_policy
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


@celery.task(name=TaskName.SUMMARIZE, base=ServiceTask)  # type: ignore[untyped-decorator]
def summarize(session_id: str, tenant: str) -> str:
    """Put what was said long ago into the session's summary."""
    return summarize_session(session_id, tenant, _minutes())


@worker_init.connect  # type: ignore[untyped-decorator]
def _know_the_policy(**_: Any) -> None:
    try:
        check_policy(settings())
    except Misconfigured as error:
        sys.exit(f"{settings().process_name}: {error}")


@lru_cache(maxsize=1)
def _minutes() -> Minutes:
    return minutes_of(this_process(), _meter())


@lru_cache(maxsize=1)
def _conversation() -> Conversation:
    return conversation_of(this_process(), _meter(), in_own_process(_meter()))


@lru_cache(maxsize=1)
def _meter() -> Meter:
    return Meter(FIRST_TOKEN_SECONDS.observe, _count_tokens, _count_refusal)


def _count_tokens(usage: Usage) -> None:
    TOKENS.labels("input").inc(usage.input_tokens)
    TOKENS.labels("output").inc(usage.output_tokens)


def _count_refusal(dimension: str) -> None:
    BUDGET_REFUSED.labels(dimension).inc()

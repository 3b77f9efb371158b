"""How requests keep messages, and count the memories that they bring: kept as rows, remembered within the request, or
neither.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.errors import StoreUnavailable
from app.gateway.room import room
from app.services.accept_message import accept_message
from app.services.keep_memories import attempt
from app.telemetry.metrics import WRITE_THROUGH, WRITE_THROUGH_RESULTS, WRITE_THROUGH_WAL


@dataclass(slots=True)
class Outcome:
    """What the request says before it is answered: how many memories it kept, and how many SomaBrain has by now."""

    memories: int = 1
    remembered: int = 0


@contextmanager
def counted_memories(path: str) -> Iterator[Outcome]:
    """Count what the block keeps; `path` is the route's template."""
    outcome = Outcome()
    try:
        yield outcome
    except StoreUnavailable:
        _count(path, "error", 1)
        raise
    _count(path, "ok", outcome.remembered)
    _count(path, "queued", outcome.memories - outcome.remembered)


def _count(path: str, result: str, memories: int) -> None:
    if memories:
        # A record for the log is owed in the very transaction that notes SomaBrain's yes.
        for counter in (WRITE_THROUGH_RESULTS, WRITE_THROUGH_WAL):
            counter.labels(path, result).inc(memories)
        WRITE_THROUGH.labels(path).inc(memories)


def keep_message(message: UserMessage, key: RequestKey | None, path: str) -> Receipt:
    """Accept it; with synchronous write-through SomaBrain is told within the request. `path` is the route's."""
    serving = room().serving
    if serving.memory_defaults is None:
        return accept_message(message, key, serving.reception)
    with counted_memories(path) as outcome:
        receipt = accept_message(message, key, serving.reception)
        if receipt.replayed:
            outcome.memories = 0
        elif not serving.settings.gateway_write_through_async:
            outcome.remembered = attempt([receipt.event_id], serving.memory_door.plane).ok
    return receipt

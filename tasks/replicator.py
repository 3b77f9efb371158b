"""Queue `replicator`: `memory.wal` on its way into the replica, a slice of time after another."""

from functools import lru_cache

from app.routing import TaskName
from app.services.rebuild_replica import Rebuilding, rebuild_in_turn
from app.services.replicate_wal import Bridge, replicate_slice
from app.telemetry.metrics import REPLICATOR_EVENTS, REPLICATOR_SECONDS
from app.wiring.process import this_process
from app.wiring.rebuilding import rebuilding_of
from app.wiring.replicating import bridge_of
from tasks.application import celery
from tasks.base import ServiceTask
from tasks.process import SHUTTING_DOWN


@celery.task(name=TaskName.REPLICATE_WAL, base=ServiceTask)  # type: ignore[untyped-decorator]
def replicate_wal() -> int:
    """Replicate for one slice, then ring for the next; a ring beside a running slice expires unheard."""
    handled = replicate_slice(_bridge())
    this_process().doorbell.ring(TaskName.REPLICATE_WAL)
    return handled


@celery.task(name=TaskName.REBUILD_WAL, base=ServiceTask)  # type: ignore[untyped-decorator]
def rebuild_wal() -> bool:
    """Rebuild the replica for one slice, then ring for the next one."""
    return rebuild_in_turn(_rebuilding())


@lru_cache(maxsize=1)
def _rebuilding() -> Rebuilding:
    return rebuilding_of(this_process(), SHUTTING_DOWN.is_set)


@lru_cache(maxsize=1)
def _bridge() -> Bridge:
    return bridge_of(this_process(), _count, _has_to_stop, lambda: _rebuilding().turn.more)


def _has_to_stop() -> bool:
    """The process has to end; or a rebuild goes on in it, and the replicator has had its share."""
    return SHUTTING_DOWN.is_set() or _rebuilding().turn.is_due(this_process().clock.monotonic())


def _count(fresh: int, duplicate: int, dead: int, lag_seconds: float) -> None:
    REPLICATOR_EVENTS.labels("ok").inc(fresh)
    REPLICATOR_EVENTS.labels("duplicate").inc(duplicate)
    REPLICATOR_EVENTS.labels("dead").inc(dead)
    REPLICATOR_SECONDS.observe(lag_seconds)

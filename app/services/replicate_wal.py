"""Step 7 of the line: carry `memory.wal` into the replica, batch by batch; the truth about how far is in Postgres."""

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import LeaseLost, StoreUnavailable, WalUnavailable
from app.domain.events import EventType, live_item
from app.domain.log import WalBatch
from app.domain.ports import Broadcast, Clock, HealthNotes, Replica, WalReader
from app.domain.wal import ReplicaRow, parse_all

TRY_SECONDS = 1.0
_GLANCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Bridge:
    """What replicating needs. `replicated(ok, duplicate, dead, lag_seconds)` counts for the metrics;
    `stopping` ends a slice early when the process has to end, `yielding` when nothing came and others wait for it.
    """

    reader: WalReader
    replica: Replica
    broadcast: Broadcast
    clock: Clock
    notes: HealthNotes
    replicated: Callable[[int, int, int, float], None]
    slice_seconds: float = 10.0
    batch: int = 500
    stopping: Callable[[], bool] = lambda: False
    yielding: Callable[[], bool] = lambda: False


def replicate_slice(bridge: Bridge) -> int:
    """Replicate for one slice of time; records handled. An outage ends the slice, and beat rings the next; it never
    ends within a second, so that an outage costs a try a second however many rings wait.
    """
    began = bridge.clock.monotonic()
    try:
        handled = _replicate_until(began + bridge.slice_seconds, bridge)
    except WalUnavailable:
        bridge.notes.note("kafka", "down", "memory.wal cannot be read; the replica catches up later")
        _stay(began + TRY_SECONDS, bridge)
        raise
    except StoreUnavailable:
        bridge.reader.rewind()
        _stay(began + TRY_SECONDS, bridge)
        raise
    bridge.notes.note("kafka", "ok", "")
    return handled


def _replicate_until(end: float, bridge: Bridge) -> int:
    handled = 0
    try:
        while bridge.clock.monotonic() < end and not bridge.stopping():
            batches = bridge.reader.poll(0.5, bridge.batch)
            handled += sum(replicate(batch, bridge) for batch in batches)
            if not batches and bridge.yielding():
                break
    except LeaseLost:
        # Another slot has this partition now, or wrote it first: go on from what Postgres says.
        bridge.reader.rewind()
    return handled


def _stay(until: float, bridge: Bridge) -> None:
    """Wait; a process that has to end does not."""
    while bridge.clock.monotonic() < until and not bridge.stopping():
        bridge.clock.sleep(_GLANCE_SECONDS)


def replicate(batch: WalBatch, bridge: Bridge) -> int:
    """Copy one batch; a crash anywhere before the last lines repeats it harmlessly. Records handled."""
    good, bad = parse_all(((record.offset, record.value) for record in batch.records), bridge.clock.now().timestamp())
    changed = bridge.replica.store(batch, good, bad)
    bridge.reader.commit(batch)
    _tell(changed, bridge)
    lag = bridge.clock.now().timestamp() - batch.records[-1].timestamp_ms / 1000
    bridge.replicated(len(changed), len(good) - len(changed), len(bad), max(lag, 0.0))
    return len(batch.records)


def _tell(changed: list[ReplicaRow], bridge: Bridge) -> None:
    for row in changed:
        if row.session_id:
            states = {row.event_id: "replicated"}
            item = live_item(row.session_id, EventType.MEMORY_STATUS, "", states, bridge.clock.now())
            bridge.broadcast.publish(row.session_id, item)

"""`wal.rebuild`: the log from its beginning into a second table, while the replica serves and live replication goes on.

When the second table stands where the replica stands, one transaction compares them and lets it take the replica's
place. What was read is in Postgres with the place it was read to, so any slice may be the last one of its process.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from app.domain.errors import LeaseLost, WalUnavailable
from app.domain.log import WalBatch
from app.domain.ports import Clock, Doorbell
from app.domain.rebuild import LogGone, Rebuild, RebuildState, RebuildStore, WalHistory
from app.domain.wal import ReplicaRow, parse_all
from app.routing import TaskName

_POLL_SECONDS = 0.5
_NEAR_SECONDS = 0.3
_SHARE_SECONDS = 2.0
_REST_SECONDS = 3.0
_READING = (RebuildState.QUEUED, RebuildState.READING)


@dataclass(slots=True)
class Turn:
    """When this process's last slice ended, by its steady clock, and whether another one is to come."""

    ended_at: float = -math.inf
    more: bool = False

    def is_near(self, now: float) -> bool:
        """Whether two rings were heard without anything in between."""
        return now - self.ended_at < _NEAR_SECONDS

    def is_due(self, now: float) -> bool:
        """Whether the replicator has had its share since the last slice."""
        return self.more and now - self.ended_at >= _SHARE_SECONDS


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What rebuilding needs. A slice is short, because a worker with one thread replicates nothing meanwhile."""

    history: WalHistory
    store: RebuildStore
    clock: Clock
    doorbell: Doorbell
    slice_seconds: float = 2.0
    batch: int = 500
    stopping: Callable[[], bool] = lambda: False
    turn: Turn = field(default_factory=Turn)


def rebuild_in_turn(rebuilding: Rebuilding) -> bool:
    """Rebuild for one slice and ring for the next; whether there is more to do. Two rings in a row are one: a worker
    with one thread has to replicate between two slices, however many rings wait.
    """
    if rebuilding.turn.is_near(rebuilding.clock.monotonic()):
        return False
    more = rebuild_slice(rebuilding)
    rebuilding.turn.more = more
    if more:
        rebuilding.turn.ended_at = rebuilding.clock.monotonic()
        rebuilding.doorbell.ring(TaskName.REBUILD_WAL)
    return more


def rebuild_slice(rebuilding: Rebuilding) -> bool:
    """Rebuild for one slice of time; whether there is more to do."""
    rebuild = rebuilding.store.current()
    if rebuild is None or rebuild.state not in _READING:
        return False
    try:
        rebuilding.store.begin(rebuild.id)
        return not _rebuilt(rebuild, rebuilding, rebuilding.clock.monotonic() + rebuilding.slice_seconds)
    except LogGone as error:
        rebuilding.store.fail(rebuild, str(error))
        return False
    except LeaseLost:
        # Another slice works on the same rebuild, or somebody has ended it: the next look tells.
        return True
    except WalUnavailable:
        rebuilding.history.close()
        raise


def _rebuilt(rebuild: Rebuild, rebuilding: Rebuilding, end: float) -> bool:
    # The ends last: between two looks everything only grows.
    places, targets = rebuilding.store.places(rebuild.id), rebuilding.store.targets()
    check_log(rebuilding.history.bounds(), places, targets)
    settled = False
    while rebuilding.clock.monotonic() < end and not rebuilding.stopping():
        if not _catch_up(rebuild, rebuilding, end):
            continue
        if not settled:
            rebuilding.store.settle()
            settled = True
        if rebuilding.store.switch(rebuild, partial(_rest, rebuilding)) is not None:
            rebuilding.history.close()
            rebuilding.doorbell.ring(TaskName.REBUILD_BRAIN)
            return True
    return False


def _catch_up(rebuild: Rebuild, rebuilding: Rebuilding, end: float) -> bool:
    """Read up to where the replica stood when this began; false when the time was too short for that."""
    until, places = rebuilding.store.targets(), rebuilding.store.places(rebuild.id)
    for batch, rows in _batches(rebuilding, places, until, end):
        rebuilding.store.store(rebuild, batch, rows, sum(until.values()))
    return is_level(places, until)


def _rest(
    rebuilding: Rebuilding, places: Mapping[int, int], until: Mapping[int, int]
) -> Iterator[tuple[WalBatch, list[ReplicaRow]]]:
    """What came since then. It is little, and read while the replica is held: under load it would never stand still
    by itself where the new table happens to stand.
    """
    end = rebuilding.clock.monotonic() + _REST_SECONDS
    yield from _batches(rebuilding, dict(places), until, end)


def _batches(
    rebuilding: Rebuilding, places: dict[int, int], until: Mapping[int, int], end: float
) -> Iterator[tuple[WalBatch, list[ReplicaRow]]]:
    """Batch by batch; `places` moves along once the caller comes back for more."""
    while not is_level(places, until) and rebuilding.clock.monotonic() < end and not rebuilding.stopping():
        for batch in rebuilding.history.read(places, until, _POLL_SECONDS, rebuilding.batch):
            yield batch, _rows(batch)
            places[batch.partition.number] = batch.end


def is_level(places: Mapping[int, int], until: Mapping[int, int]) -> bool:
    """Whether reading to `places` is reading to `until`; what was never read stands at the beginning."""
    return all(places.get(number, 0) >= offset for number, offset in until.items())


def check_log(bounds: Mapping[int, tuple[int, int]], places: Mapping[int, int], until: Mapping[int, int]) -> None:
    """`LogGone` unless the log still holds everything between `places` and `until`."""
    for number, target in until.items():
        place = places.get(number, 0)
        if place > target:
            raise LogGone(f"the replica went back to {target} in partition {number}; ask for another rebuild")
        first, following = bounds.get(number, (0, 0))
        if place < target and first > place:
            raise LogGone(
                f"the log no longer holds the records {place} to {first - 1} of its partition {number}: the replica"
                " knows more than the log and is left as it is"
            )
        if following < target:
            raise LogGone(
                f"partition {number} of the log ends at {following} and the replica has read to {target}: this is not"
                " the log that the replica was made of; the replica is left as it is"
            )


def _rows(batch: WalBatch) -> list[ReplicaRow]:
    """The rows in a batch. What is poison was judged and buried when it was new, and whether a timestamp lay too far
    ahead is judged as of then.
    """
    rows: list[ReplicaRow] = []
    for record in batch.records:
        rows += parse_all([(record.offset, record.value)], record.timestamp_ms / 1000)[0]
    return rows

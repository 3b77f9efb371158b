"""Rebuilding in memory: the log from its beginning, the rebuilds beside a replica, the rebuilt rows in order."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain.audit import AuditEntry
from app.domain.errors import Conflict, LeaseLost, NotFound, WalUnavailable
from app.domain.log import WalBatch, WalPartition
from app.domain.memory import Memory, Place, idempotency_key
from app.domain.rebuild import Comparison, MemoryPage, Rebuild, RebuildKind, RebuildState, Rest, TableDigest
from app.domain.wal import ReplicaRow, settle_versions
from tests.builders import an_id
from tests.fakes_wal import InMemoryReplica, InMemoryWal

_GOING_ON = (RebuildState.QUEUED, RebuildState.READING, RebuildState.REMEMBERING)


@dataclass
class InMemoryHistory:
    """`WalHistory` of an `InMemoryWal`; `first` is the beginning of a log that lost its real one."""

    wal: InMemoryWal
    topic: str = "memory.wal"
    first: dict[int, int] = field(default_factory=dict)
    closed: int = 0

    def bounds(self) -> dict[int, tuple[int, int]]:
        self._answer()
        lengths = {number: len(self.wal.log[WalPartition(self.topic, number)]) for number in range(self.wal.partitions)}
        return {number: (self.first.get(number, 0), length) for number, length in lengths.items()}

    def read(self, places: Mapping[int, int], until: Mapping[int, int], seconds: float, limit: int) -> list[WalBatch]:
        self._answer()
        batches = []
        for number, target in until.items():
            where, start = WalPartition(self.topic, number), places.get(number, 0)
            records = tuple(self.wal.log[where][start : min(start + limit, target)])
            if records:
                batches.append(WalBatch(where, start, start + len(records), records, 0))
        self.wal.clock.advance(0.1 if batches else seconds)
        return batches

    def _answer(self) -> None:
        if self.wal.down:
            raise WalUnavailable("memory.wal cannot be read: down")

    def close(self) -> None:
        self.closed += 1


@dataclass
class InMemoryRebuilds:
    """`RebuildDesk`, `RebuildStore` and `RebuiltMemories` beside one replica; `reader` keeps tables from switching."""

    replica: InMemoryReplica
    topic: str = "memory.wal"
    reader: bool = False
    rebuilds: dict[str, Rebuild] = field(default_factory=dict)
    read_to: dict[str, dict[int, int]] = field(default_factory=dict)
    rebuilt: dict[str, ReplicaRow] = field(default_factory=dict)
    forgotten_before: dict[str, set[str]] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)

    # --- RebuildDesk

    def start(self, kind: RebuildKind, entry: AuditEntry) -> tuple[Rebuild, bool]:
        running = self.current()
        if running is not None:
            return running, False
        made = Rebuild(an_id(), kind, RebuildState.QUEUED, self.replica.clock.now())
        self.rebuilds[made.id] = made
        self.forgotten_before[made.id] = {key for key, row in self.replica.rows.items() if row.deleted}
        return made, True

    def find(self, rebuild_id: str) -> Rebuild | None:
        return self.rebuilds.get(rebuild_id)

    def cancel(self, rebuild_id: str, entry: AuditEntry) -> Rebuild:
        found = self.rebuilds.get(rebuild_id)
        if found is None:
            raise NotFound("there is no such rebuild")
        if found.state.over:
            raise Conflict("this rebuild is over")
        return self._end(found, RebuildState.CANCELLED)

    def _end(self, rebuild: Rebuild, state: RebuildState, error: str | None = None) -> Rebuild:
        self.rebuilt = {}
        return self._set(rebuild.id, state=state, error=error, finished_at=self.replica.clock.now())

    def _set(self, rebuild_id: str, **changes: object) -> Rebuild:
        self.rebuilds[rebuild_id] = replace(self.rebuilds[rebuild_id], **changes)  # type: ignore[arg-type]
        return self.rebuilds[rebuild_id]

    # --- RebuildStore

    def current(self) -> Rebuild | None:
        return next((each for each in self.rebuilds.values() if each.state in _GOING_ON), None)

    def begin(self, rebuild_id: str) -> None:
        if self.rebuilds[rebuild_id].state is RebuildState.QUEUED:
            self._set(rebuild_id, state=RebuildState.READING)
            self.rebuilt, self.read_to[rebuild_id] = {}, {}

    def places(self, rebuild_id: str) -> dict[int, int]:
        return dict(self.read_to.get(rebuild_id, {}))

    def targets(self) -> dict[int, int]:
        return {where.number: place.offset for where, place in self.replica.places.items() if where.topic == self.topic}

    def store(self, rebuild: Rebuild, batch: WalBatch, good: Sequence[ReplicaRow], to_read: int) -> None:
        self._hold(rebuild, RebuildState.READING)
        self._set(rebuild.id, to_read=to_read)
        self._keep(rebuild, batch, good)

    def _keep(self, rebuild: Rebuild, batch: WalBatch, good: Sequence[ReplicaRow]) -> None:
        places = self.read_to[rebuild.id]
        if places.get(batch.partition.number, 0) != batch.start:
            raise LeaseLost("another slice was faster")
        places[batch.partition.number] = batch.end
        rows = [row for row in good if (batch.partition, row.offset) not in self.replica.dead]
        stored = {key: (row.version, row.body_digest) for key, row in self.rebuilt.items()}
        winners, conflicts = settle_versions(rows, stored)
        self.rebuilt |= {row.event_id: row for row in winners}
        known = self.rebuilds[rebuild.id]
        poison = known.poison + len(batch.records) - len(rows) + len(conflicts)
        self._set(rebuild.id, read=known.read + batch.end - batch.start, poison=poison)

    def _hold(self, rebuild: Rebuild, state: RebuildState) -> None:
        if self.rebuilds[rebuild.id].state is not state:
            raise LeaseLost("the rebuild is over")

    def settle(self) -> None: ...

    def switch(self, rebuild: Rebuild, rest: Rest) -> Comparison | None:
        self._hold(rebuild, RebuildState.READING)
        for batch, good in rest(self.places(rebuild.id), self.targets()):
            self._keep(rebuild, batch, good)
        places = self.read_to[rebuild.id]
        if self.reader or any(places.get(number, 0) != offset for number, offset in self.targets().items()):
            return None
        comparison = _compare(self.replica.rows, self.rebuilt)
        for event_id in [*self.replica.rows, *self.rebuilt]:
            self.ids.setdefault(event_id, len(self.ids) + 1)
        self.replica.rows, self.rebuilt = self.rebuilt, {}
        brain = rebuild.kind is RebuildKind.BRAIN
        if not brain:
            self._end(rebuild, RebuildState.COMPLETED)
        state = RebuildState.REMEMBERING if brain else RebuildState.COMPLETED
        alive = sum(not row.deleted for row in self.replica.rows.values())
        self._set(rebuild.id, state=state, comparison=comparison, to_remember=alive if brain else 0)
        return comparison

    def fail(self, rebuild: Rebuild, reason: str) -> None:
        self._end(rebuild, RebuildState.FAILED, reason)

    # --- RebuiltMemories

    def page(self, rebuild: Rebuild, limit: int) -> MemoryPage:
        for event_id in self.replica.rows:
            self.ids.setdefault(event_id, len(self.ids) + 1)
        found = sorted((self.ids[key], row) for key, row in self.replica.rows.items() if self.ids[key] > rebuild.cursor)
        memories = tuple(_memory(row) for _, row in found[:limit] if not row.deleted)
        end_of_stretch = found[:limit][-1][0] if found else rebuild.cursor
        return MemoryPage(rebuild.cursor, end_of_stretch, memories, last=len(found) < limit)

    def forgotten_since(self, rebuild: Rebuild, page: MemoryPage) -> list[Memory]:
        before = self.forgotten_before[rebuild.id]
        stretch = [row for key, row in self.replica.rows.items() if page.start < self.ids.get(key, 0) <= page.end]
        return [_memory(row) for row in stretch if row.deleted and row.event_id not in before]

    def passed(self, rebuild: Rebuild, page: MemoryPage, remembered: int, refused: Sequence[str]) -> Rebuild:
        known = self.rebuilds[rebuild.id]
        if known.state is not RebuildState.REMEMBERING or known.cursor != page.start:
            raise LeaseLost("somebody was faster, or the rebuild is over")
        return self._set(
            rebuild.id, cursor=page.end, remembered=known.remembered + remembered,
            refused=known.refused + len(refused), error=known.error or (refused[0] if refused else None),
        )  # fmt: skip

    def complete(self, rebuild: Rebuild) -> None:
        self._hold(rebuild, RebuildState.REMEMBERING)
        self._end(rebuild, RebuildState.COMPLETED, rebuild.error)


def _compare(old: Mapping[str, ReplicaRow], new: Mapping[str, ReplicaRow]) -> Comparison:
    differing = {key for key in old.keys() & new.keys() if _said(old[key]) != _said(new[key])}
    only_old, only_new = old.keys() - new.keys(), new.keys() - old.keys()
    examples = tuple(sorted(differing | only_old | only_new)[:20])
    return Comparison(_digest(old), _digest(new), len(only_old), len(only_new), len(differing), examples)


def _digest(rows: Mapping[str, ReplicaRow]) -> TableDigest:
    said = sorted(map(_said, rows.values()))
    return TableDigest(len(rows), hashlib.md5(repr(said).encode(), usedforsecurity=False).hexdigest())


def _said(row: ReplicaRow) -> str:
    return repr((row.event_id, row.version, row.body_digest, row.deleted, {} if row.deleted else row.payload))


def _memory(row: ReplicaRow) -> Memory:
    place = Place(row.tenant, row.namespace, row.universe)
    role, said_at = row.role or "", datetime.fromtimestamp(row.wal_timestamp).astimezone()
    key = row.payload.get("idempotency_key") or idempotency_key(place, row.session_id, role, said_at, row.event_id)
    payload = {} if row.deleted else row.payload
    return Memory(row.event_id, place, row.session_id, row.persona_id, role, payload, key, version=row.version)

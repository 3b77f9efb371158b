"""The desk in memory: dead letters on a replica, and the work of an `InMemoryStore`; both write down what was done."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from app.domain.audit import AuditEntry
from app.domain.dead_letters import Choice, DeadLetter, LetterGroup, Replay, TopicDepth, spread
from app.domain.desk import WorkCount, WorkFilter, WorkItem, WorkName, WorkPlace, WorkState, place_of_item
from app.domain.wal import MAX_LETTER_BYTES, Poison
from tests.fakes_store import FakeRecord, InMemoryStore
from tests.fakes_wal import InMemoryReplica
from tests.fakes_work import Row, WorkTable


@dataclass
class InMemoryDeadLetters:
    """`DeadLetters`; what is replayed is owed by `store`, as a record of its own."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    replica: InMemoryReplica = field(default_factory=InMemoryReplica)
    kept: dict[int, DeadLetter] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)

    def bury(self, topic: str, raw: bytes, kind: str = "bad_json", error: str = "the text is not JSON") -> int:
        """Keep a letter; its id."""
        number = len(self.kept) + 1
        fingerprint = Poison(0, raw, kind, error).fingerprint
        made = self.store.clock.now() + timedelta(microseconds=number)
        self.kept[number] = DeadLetter(number, topic, raw, len(raw), error, kind, fingerprint, "open", made)
        return number

    def topics(self, groups: int) -> list[TopicDepth]:
        with self.store.transaction():
            names = sorted({letter.topic for letter in self._open()})
            return [self._topic(name, groups) for name in names]

    def _topic(self, name: str, most: int) -> TopicDepth:
        found: dict[str, list[DeadLetter]] = defaultdict(list)
        for letter in self._open():
            if letter.topic == name:
                found[letter.fingerprint].append(letter)
        ranked = sorted(found.values(), key=lambda letters: (-len(letters), letters[0].id))
        groups = tuple(
            LetterGroup(some[0].fingerprint, some[0].error_kind, some[0].error, len(some), some[0].created_at,
                        some[-1].created_at)
            for some in ranked[:most]
        )  # fmt: skip
        return TopicDepth(name, sum(map(len, ranked)), len(ranked), groups)

    def knows(self, topic: str) -> bool:
        with self.store.transaction():
            return any(letter.topic == topic for letter in self.kept.values())

    def newest_open(self, topic: str) -> int:
        with self.store.transaction():
            return max((letter.id for letter in self._open() if letter.topic == topic), default=0)

    def page(
        self, topic: str, fingerprint: str | None, state: str | None, before: int | None, limit: int
    ) -> list[DeadLetter]:
        with self.store.transaction():
            found = [
                replace(letter, raw=letter.raw[:MAX_LETTER_BYTES])
                for letter in self.kept.values()
                if letter.topic == topic
                and fingerprint in (None, letter.fingerprint)
                and state in (None, letter.state)
                and (before is None or letter.id < before)
            ]
            return found[::-1][:limit]

    def states(self, topic: str, ids: Sequence[int]) -> dict[int, str]:
        with self.store.transaction():
            return {key: self.kept[key].state for key in ids if key in self.kept and self.kept[key].topic == topic}

    def take_open(self, choice: Choice, limit: int, max_bytes: int) -> list[DeadLetter]:
        with self.store.transaction():
            taken: list[DeadLetter] = []
            for letter in self._chosen(choice)[:limit]:
                max_bytes -= letter.size
                if taken and max_bytes < 0:
                    break
                taken.append(letter)
            return taken

    def count_open(self, choice: Choice) -> int:
        with self.store.transaction():
            return len(self._chosen(choice))

    def versions(self, event_ids: Sequence[str]) -> Mapping[str, tuple[int, bytes]]:
        with self.store.transaction():
            rows = self.replica.rows
            return {key: (rows[key].version, rows[key].body_digest) for key in event_ids if key in rows}

    def replay(self, replays: Sequence[Replay], per_second: float | None, entry: AuditEntry) -> list[int]:
        with self.store.transaction():
            done = [replay for replay in replays if self.kept[replay.letter_id].state == "open"]
            if not done:
                return []
            now = self.store.clock.monotonic()
            waits = spread(len(done), per_second, self._last_due(done[0].record.topic))
            for replay, wait in zip(done, waits, strict=True):
                self._settle(replay.letter_id, "replayed")
                self.store.owe_records([replay.record])
                self._row(replay).run_at = now + wait
            ids = [replay.letter_id for replay in done]
            self.audit.append(entry.having(count=len(ids), ids=sorted(ids)))
            return ids

    def _row(self, replay: Replay) -> Row[FakeRecord]:
        return self.store.record_rows.rows[f"{replay.record.topic}\n{replay.record.dedupe_key}"]

    def _last_due(self, topic: str) -> float | None:
        due = [
            row.run_at - self.store.clock.monotonic()
            for row in self.store.record_rows.owed
            if row.thing.record.topic == topic and row.thing.record.dedupe_key.startswith("replay:")
        ]
        return max(due, default=None)

    def discard(self, choice: Choice, limit: int, entry: AuditEntry) -> int:
        with self.store.transaction():
            chosen = self._chosen(choice)[:limit]
            for letter in chosen:
                self._settle(letter.id, "discarded")
            if chosen:
                self.audit.append(entry.having(count=len(chosen)))
            return len(chosen)

    def _settle(self, letter_id: int, state: str) -> None:
        self.kept[letter_id] = replace(self.kept[letter_id], state=state)

    def _open(self) -> list[DeadLetter]:
        return [letter for letter in self.kept.values() if letter.state == "open"]

    def _chosen(self, choice: Choice) -> list[DeadLetter]:
        return [
            letter
            for letter in self._open()
            if letter.topic == choice.topic
            and letter.id > choice.after
            and choice.fingerprint in (None, letter.fingerprint)
            and (choice.ids is None or letter.id in choice.ids)
            and (choice.upto is None or letter.id <= choice.upto)
        ]


@dataclass
class InMemoryWorkDesk:
    """`WorkDesk` on the rows of an `InMemoryStore`."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    audit: list[AuditEntry] = field(default_factory=list)

    def _table(self, kind: WorkName) -> WorkTable[Any]:
        tables: dict[WorkName, WorkTable[Any]] = {
            WorkName.TURN: self.store.turn_rows,
            WorkName.MEMORY: self.store.memory_rows,
            WorkName.RECORD: self.store.record_rows,
            WorkName.TOOL_CALL: self.store.call_rows,
            WorkName.EXPORT: self.store.export_rows,
            WorkName.WEBHOOK: self.store.webhook_rows,
        }
        return tables[kind]

    def counts(self) -> list[WorkCount]:
        with self.store.transaction():
            return [self._count(kind) for kind in WorkName]

    def _count(self, kind: WorkName) -> WorkCount:
        table = self._table(kind)
        states = [self._item(kind, row).state for row in table.rows.values()]
        oldest = min((row.created_at for row in table.owed), default=self.store.clock.monotonic())
        figures = {state.value: states.count(state) for state in WorkState}
        return WorkCount(kind, **figures, oldest_age_seconds=max(0.0, self.store.clock.monotonic() - oldest))

    def items(self, wanted: WorkFilter, after: WorkPlace | None, limit: int) -> list[WorkItem]:
        with self.store.transaction():
            found = [self._item(kind, row) for kind in wanted.kinds for row in self._table(kind).rows.values()]
            found = [item for item in found if item.state in ((wanted.state,) if wanted.state else tuple(WorkState))]
            found = [item for item in found if after is None or _order(place_of_item(item)) > _order(after)]
            return sorted(found, key=lambda item: _order(place_of_item(item)))[:limit]

    def item(self, kind: WorkName, key: str) -> WorkItem | None:
        with self.store.transaction():
            row = self._table(kind).rows.get(key)
            return None if row is None else self._item(kind, row)

    def _item(self, kind: WorkName, row: Row[Any]) -> WorkItem:
        table, record = self._table(kind), row.thing.record if kind is WorkName.RECORD else None
        thing, topic = record or row.thing, record.topic if record else None
        tenant = row.thing.place.tenant if kind is WorkName.MEMORY else thing.tenant
        listed = row.created_at if row.finished_at is None else row.finished_at
        return WorkItem(
            kind, row.key, _stands(table, row), tenant, thing.session_id, topic, row.attempts, row.failures,
            row.last_error, self._at(row.run_at), self._at(row.created_at), row.owner, self._at(listed),
        )  # fmt: skip

    def _at(self, moment: float) -> Any:
        return self.store.clock.now() + timedelta(seconds=moment - self.store.clock.monotonic())

    def hurry(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        with self.store.transaction():
            return self._noted(self._table(kind).hurry(key), entry)

    def revive(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        with self.store.transaction():
            return self._noted(self._table(kind).revive(key), entry)

    def discard(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        with self.store.transaction():
            return self._noted(self._table(kind).discard(key), entry)

    def _noted(self, done: bool, entry: AuditEntry) -> bool:
        if done:
            self.audit.append(entry)
        return done


def _order(place: WorkPlace) -> tuple[Any, ...]:
    return place.rank, place.listed_at, place.kind, place.id


def _stands(table: WorkTable[Any], row: Row[Any]) -> str:
    if row not in table.owed:
        return row.state
    if table.is_held(row):
        return WorkState.LEASED
    return WorkState.WAITING if row.outage else WorkState.OWED

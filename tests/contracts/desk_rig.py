"""The desk, twice: in memory and in Postgres, with a look behind each."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from app.adapters.sql.dead_letters import SqlDeadLetters
from app.adapters.sql.desk import SqlWorkDesk
from app.adapters.sql.replica import SqlReplica
from app.domain.audit import Actor, AuditEntry
from app.domain.desk_ports import DeadLetters, WorkDesk
from app.domain.log import WalPartition
from app.domain.ports import Replica
from app.domain.wal import Poison, parse_all
from tests.builders import NOW, a_batch, an_id
from tests.contracts.store_rig import MemoryRig, PostgresRig, StoreRig
from tests.fakes import InMemoryDeadLetters, InMemoryWorkDesk


@dataclass(frozen=True)
class Owed:
    """A record that a replay owes to the log, due in so many seconds."""

    dedupe_key: str
    payload: dict[str, Any]
    due_in: float


class LettersRig(ABC):
    """Dead letters of topics of its own, and what replaying them leaves behind."""

    letters: DeadLetters
    replica: Replica

    def __init__(self) -> None:
        self.source = an_id("wal-")
        self.topic = f"{self.source}.dlq"

    @abstractmethod
    def bury(self, raw: bytes, error: str = "the text is not JSON", topic: str = "") -> int: ...

    @abstractmethod
    def owed(self) -> list[Owed]: ...

    @abstractmethod
    def audit(self, entry: AuditEntry) -> list[AuditEntry]: ...

    def replicate(self, *values: bytes) -> None:
        """Have the replica hold these records."""
        batch = a_batch(WalPartition(an_id("elsewhere-"), 0), 0, *values)
        good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
        self.replica.take(batch.partition)
        self.replica.store(batch, good, bad)

    def state(self, letter_id: int) -> str:
        """How far a letter is."""
        return self.letters.states(self.topic, [letter_id])[letter_id]


class MemoryLettersRig(LettersRig):
    def __init__(self) -> None:
        super().__init__()
        self.fake = InMemoryDeadLetters()
        self.letters, self.replica = self.fake, self.fake.replica

    def bury(self, raw: bytes, error: str = "the text is not JSON", topic: str = "") -> int:
        return self.fake.bury(topic or self.topic, raw, "bad_json", error)

    def owed(self) -> list[Owed]:
        now = self.fake.store.clock.monotonic()
        return [
            Owed(row.thing.record.dedupe_key, dict(row.thing.record.payload), row.run_at - now)
            for row in self.fake.store.record_rows.rows.values()
            if row.thing.record.topic == self.source
        ]

    def audit(self, entry: AuditEntry) -> list[AuditEntry]:
        return [found for found in self.fake.audit if found.actor == entry.actor]


class SqlLettersRig(LettersRig):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.letters, self.replica = SqlDeadLetters(engine), SqlReplica(engine)

    def bury(self, raw: bytes, error: str = "the text is not JSON", topic: str = "") -> int:
        values = {"topic": topic or self.topic, "raw": raw, "error": error}
        sql = """INSERT INTO dlq_messages (topic, raw, error, error_kind, fingerprint)
                 VALUES (:topic, :raw, :error, 'bad_json', :fingerprint) RETURNING id"""
        return int(self._all(sql, **values, fingerprint=Poison(0, raw, "bad_json", error).fingerprint)[0]["id"])

    def owed(self) -> list[Owed]:
        sql = """SELECT dedupe_key, payload, extract(epoch FROM run_at - created_at)::float AS due_in
                 FROM message_outbox WHERE topic = :topic ORDER BY id"""
        return [Owed(**row) for row in self._all(sql, topic=self.source)]

    def audit(self, entry: AuditEntry) -> list[AuditEntry]:
        return audit_of(self._engine, entry)

    def _all(self, statement: str, **values: Any) -> Sequence[Any]:
        with self._engine.begin() as connection:
            return connection.execute(text(statement), values).mappings().all()


def audit_of(engine: Engine, entry: AuditEntry) -> list[AuditEntry]:
    """What the database holds of this actor's request."""
    sql = "SELECT actor, action, subject, request_id, detail FROM audit_events WHERE request_id = :id ORDER BY id"
    with engine.begin() as connection:
        rows = connection.execute(text(sql), {"id": entry.actor.request_id}).mappings().all()
    return [AuditEntry(Actor(r["actor"], r["request_id"]), r["action"], r["subject"], r["detail"]) for r in rows]


def an_entry(action: str = "test.deed") -> AuditEntry:
    """A deed of a request of its own."""
    return AuditEntry(Actor("anonymous", an_id("r-")), action, "subject", {"why": "test"})


def as_bytes(body: dict[str, Any]) -> bytes:
    """A record as it lies in the log."""
    return json.dumps(body).encode()


@dataclass
class WorkRig:
    """A desk and the store whose work it shows."""

    store: StoreRig
    desk: WorkDesk
    engine: Engine | None = None

    def audit(self, entry: AuditEntry) -> list[AuditEntry]:
        """The entries of this deed's request."""
        if self.engine is not None:
            return audit_of(self.engine, entry)
        assert isinstance(self.desk, InMemoryWorkDesk)
        return [found for found in self.desk.audit if found.actor == entry.actor]


def memory_work() -> WorkRig:
    """The fake."""
    store = MemoryRig()
    return WorkRig(store, InMemoryWorkDesk(store.store))


def postgres_work(engine: Engine) -> WorkRig:
    """The real one; what earlier tests left dead is put away first."""
    store = PostgresRig(engine)
    with engine.begin() as connection:
        for table in ("turns", "memory_write_outbox", "message_outbox", "webhook_deliveries"):
            connection.execute(text(f"UPDATE {table} SET state = 'discarded' WHERE state = 'dead'"))
    return WorkRig(store, SqlWorkDesk(engine), engine)

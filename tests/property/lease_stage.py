"""The two stores that the lease machine drives, with processes whose heartbeat beats only when it is told to."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.export_jobs import SqlExportJobs
from app.adapters.sql.leases import Leases
from app.adapters.sql.outboxes import SqlMemoryOutbox, SqlMessageOutbox
from app.adapters.sql.tool_calls import SqlToolCalls
from app.adapters.sql.turns import SqlTurns
from app.adapters.sql.work_kinds import TURNS, WorkKind
from app.domain.leases import Lease
from tests.builders import an_id
from tests.contracts.store_rig import ROOM, TOPIC, MemoryRig, PostgresRig, Process, StoreRig
from tests.property.lease_model import LEASE


@dataclass(frozen=True)
class Found:
    """A row as the store has it."""

    state: str
    attempts: int
    failures: int
    deaths: int
    owner: str
    runs: int = 0


class Stage(ABC):
    """A store, its processes, and a look at its rows."""

    rig: StoreRig

    @abstractmethod
    def process(self) -> Process: ...

    @abstractmethod
    def beat(self, process: Process, working: list[str]) -> None: ...

    @abstractmethod
    def look(self, kind: str) -> dict[str, Found]: ...

    @abstractmethod
    def close(self) -> None: ...


class MemoryStage(Stage):
    """The fakes."""

    def __init__(self) -> None:
        self.rig: MemoryRig = MemoryRig()

    def process(self) -> Process:
        return self.rig.process(LEASE)

    def beat(self, process: Process, working: list[str]) -> None:
        self.rig.store.turn_rows.renew(process.owner, LEASE, working)

    def look(self, kind: str) -> dict[str, Found]:
        store = self.rig.store
        tables: dict[str, Any] = {
            "turn": store.turn_rows, "memory": store.memory_rows, "record": store.record_rows,
            "tool_call": store.call_rows,
        }  # fmt: skip
        return {
            key.rpartition("\n")[2]: Found(
                row.state,
                row.attempts,
                row.failures,
                row.attempts - row.excused,
                row.owner or "",
                row.runs if kind == "tool_call" else 0,
            )
            for key, row in tables[kind].rows.items()
        }

    def close(self) -> None:
        """Nothing to close."""


class _Lock:
    """A presence without a thread: the advisory lock of one owner on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self.owner = an_id("p-")
        self._engine = engine
        self._connection: Connection | None = None

    def start(self) -> None:
        self._connection = self._engine.connect()
        self._connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:owner, 0))"), {"owner": self.owner})
        self._connection.commit()

    def stop(self) -> None:
        if self._connection is not None:
            release = text("SELECT pg_advisory_unlock(hashtextextended(:owner, 0))")
            self._connection.execute(release, {"owner": self.owner})
            self._connection.close()
            self._connection = None

    @contextmanager
    def working_on(self, _key: str) -> Iterator[None]:
        yield

    def survived(self, kind: WorkKind, leases: Iterable[Lease]) -> None:
        """At once, where a heartbeat would say it within a second."""
        with self._engine.begin() as connection:
            Leases(kind, self.owner, LEASE).excuse(connection, list(leases))


_TABLES = {
    "turn": ("turns", "event_id"),
    "memory": ("memory_write_outbox", "event_id"),
    "record": ("message_outbox", "dedupe_key"),
    "tool_call": ("tool_calls", "call_id"),
}


class PostgresStage(Stage):
    """The real adapters; every look sees only the rows of this example's sessions."""

    def __init__(self, engine: Engine, mark: str) -> None:
        self.rig: PostgresRig = PostgresRig(engine)
        self._engine, self._mark = engine, mark
        self._locks: list[_Lock] = []

    def process(self) -> Process:
        lock = _Lock(self._engine)
        self._locks.append(lock)
        presence: Any = lock
        return Process(
            lock.owner,
            SqlTurns(self._engine, presence, LEASE),
            SqlMemoryOutbox(self._engine, presence, LEASE, TOPIC),
            SqlMessageOutbox(self._engine, presence, LEASE),
            SqlToolCalls(self._engine, presence, LEASE),
            SqlExportJobs(self._engine, presence, LEASE, ROOM, 24),
            lock,
        )

    def beat(self, process: Process, working: list[str]) -> None:
        with self._engine.begin() as connection:
            Leases(TURNS, process.owner, LEASE).renew(connection, working)

    def look(self, kind: str) -> dict[str, Found]:
        table, key = _TABLES[kind]
        with self._engine.begin() as connection:
            rows = connection.execute(
                text(f"SELECT * FROM {table} WHERE session_id LIKE :mark"), {"mark": f"{self._mark}%"}
            ).mappings()
            return {
                row[key]: Found(
                    row["state"],
                    row["attempts"],
                    row["failures"],
                    row["attempts"] - row["excused"],
                    row["lease_owner"] or "",
                    row.get("runs", 0),
                )
                for row in rows
            }

    def close(self) -> None:
        for lock in self._locks:
            lock.stop()
        self.rig.close()

"""The truth, twice: in memory and in Postgres, behind the same handles, so that one suite can judge both."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Engine, text

from app.adapters.sql.budgets import SqlBudgetDesk
from app.adapters.sql.engine import create_engine
from app.adapters.sql.export_jobs import SqlExportJobs
from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.outboxes import SqlMemoryOutbox, SqlMessageOutbox
from app.adapters.sql.presence import Presence
from app.adapters.sql.rows import owe_records
from app.adapters.sql.sessions import SqlSessions
from app.adapters.sql.spending import SqlSpending
from app.adapters.sql.stream_store import SqlStreamStore
from app.adapters.sql.tool_calls import SqlToolCalls
from app.adapters.sql.tool_requests import SqlToolRequests
from app.adapters.sql.transcripts import SqlTranscripts
from app.adapters.sql.turn_book import SqlTurnBook
from app.adapters.sql.turn_control import SqlTurnControl
from app.adapters.sql.turns import SqlTurns
from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.budget_ports import BudgetDesk, Spending
from app.domain.conversation_control import TurnControl
from app.domain.export_ports import ExportJobs
from app.domain.kept_turns import TurnBook
from app.domain.ledger import Ledger
from app.domain.memory import WalRecord
from app.domain.ports import Inbox, MemoryOutbox, MessageOutbox, Sent, Turns
from app.domain.session_ports import Sessions
from app.domain.stream_ports import StreamStore
from app.domain.tool_ports import ToolCalls, ToolRequests
from app.domain.transcript import Transcripts
from app.services.sweep import Due
from tests.builders import an_id
from tests.conftest import eventually
from tests.fakes import InMemoryExports, InMemoryStore
from tests.fakes_budgets import InMemoryBudgets
from tests.fakes_turn_book import InMemoryTurnBook
from tests.fakes_work import Row

TOPIC = "memory.wal"
CALL_SECONDS = 6.0
DEFAULT_LIMIT = 1_000
"""Tokens that a tenant may spend in a day."""
ROOM = 2**31
"""Bytes that all exports together may take."""


class AllTurns(Turns, Due, Protocol):
    """The turns as a worker, its stop watch and the sweep see them."""

    def asked_to_stop(self, event_ids: Collection[str]) -> Collection[str]: ...


@dataclass
class Process:
    """One worker process's view on the store."""

    owner: str
    turns: AllTurns
    memories: MemoryOutbox
    records: MessageOutbox
    calls: ToolCalls
    exports: ExportJobs
    presence: Any

    def appear(self) -> "Process":
        """Begin to be alive; returns once everybody can see it."""
        self.presence.start()
        return self

    def die(self) -> None:
        """Be gone, with everything still in hand."""
        self.presence.stop()


@dataclass(frozen=True)
class RowState:
    """How far an owed row is."""

    state: str
    attempts: int
    last_error: str | None


class StoreRig(ABC):
    """What a suite may do to a store beside using its ports."""

    inbox: Inbox
    stream: StreamStore
    tools: ToolRequests
    ledger: Ledger
    control: TurnControl
    transcripts: Transcripts
    sessions: Sessions
    spending: Spending
    budgets: BudgetDesk
    book: TurnBook

    @abstractmethod
    def process(self, lease_seconds: float = 30.0) -> Process: ...

    @abstractmethod
    def pass_time(self, seconds: float) -> None:
        """Make every owed row so much older."""

    @abstractmethod
    def now(self) -> datetime:
        """The store's time."""

    @abstractmethod
    def sweep(self) -> dict[str, int]: ...

    @abstractmethod
    def row(self, kind: str, key: str) -> RowState: ...

    @abstractmethod
    def deaths(self, kind: str, key: str) -> int:
        """Claims that did not end in words, the present one included."""

    @abstractmethod
    def owe(self, records: Sequence[WalRecord]) -> None: ...

    @abstractmethod
    def records_of(self, topic: str, dedupe_key: str) -> list[tuple[str, dict[str, Any], Sent | None]]: ...

    @abstractmethod
    def change_session(self, session_id: str, paused: bool) -> None: ...

    @abstractmethod
    def replicate(self, event_id: str) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def types(self, session_id: str) -> list[str]:
        """The kinds of a session's durable events, in order."""
        return [event["type"] for event in self.stream.events_after(session_id, 0, 1000)]


class MemoryRig(StoreRig):
    """The fake."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.inbox = self.store.inbox()
        self.stream = self.store.stream_store()
        self.tools = self.store.tool_requests()
        self.ledger = self.store.ledger(CALL_SECONDS)
        self.control = self.store.turn_control()
        self.transcripts = self.store.transcripts()
        self.sessions = self.store.session_desk()
        self.spending = self.budgets = InMemoryBudgets(self.store, DEFAULT_LIMIT)
        self.book = InMemoryTurnBook(self.store)

    def process(self, lease_seconds: float = 30.0) -> Process:
        presence = self.store.presence(an_id("p-"))
        owner = presence.owner
        return Process(
            owner,
            self.store.turns(presence, lease_seconds),
            self.store.memory_outbox(owner, lease_seconds),
            self.store.message_outbox(owner, lease_seconds),
            self.store.tool_calls(presence, lease_seconds),
            InMemoryExports(self.store, presence, lease_seconds),
            presence,
        )

    def pass_time(self, seconds: float) -> None:
        self.store.clock.advance(seconds)

    def now(self) -> datetime:
        return self.store.clock.now()

    def sweep(self) -> dict[str, int]:
        return self.store.end_leases_of_the_dead()

    def row(self, kind: str, key: str) -> RowState:
        row = self._row(kind, key)
        return RowState(row.state, row.attempts, row.last_error)

    def deaths(self, kind: str, key: str) -> int:
        row = self._row(kind, key)
        return row.attempts - row.excused

    def _row(self, kind: str, key: str) -> Row[Any]:
        tables: dict[str, Any] = {
            "turn": self.store.turn_rows, "memory": self.store.memory_rows, "record": self.store.record_rows,
            "tool_call": self.store.call_rows, "export": self.store.export_rows,
            "webhook": self.store.webhook_rows,
        }  # fmt: skip
        found: Row[Any] = tables[kind].rows[key]
        return found

    def owe(self, records: Sequence[WalRecord]) -> None:
        self.store.owe_records(records)

    def records_of(self, topic: str, dedupe_key: str) -> list[tuple[str, dict[str, Any], Sent | None]]:
        return [
            (row.state, dict(row.thing.record.payload), row.thing.sent)
            for row in self.store.record_rows.rows.values()
            if (row.thing.record.topic, row.thing.record.dedupe_key) == (topic, dedupe_key)
        ]

    def change_session(self, session_id: str, paused: bool) -> None:
        self.store.sessions[session_id].paused = paused

    def replicate(self, event_id: str) -> None:
        self.store.replicated.add(event_id)

    def close(self) -> None:
        self.store.alive.clear()


_TABLES = {
    "turn": ("turns", "event_id", "'queued', 'running'"),
    "memory": ("memory_write_outbox", "event_id", "'pending'"),
    "record": ("message_outbox", "id", "'pending'"),
    "tool_call": ("tool_calls", "call_id", "'queued', 'running'"),
    "export": ("export_jobs", "job_id", "'queued', 'running'"),
    "webhook": ("webhook_deliveries", "delivery_id", "'pending'"),
}


class PostgresRig(StoreRig):
    """The real one. Rows that earlier tests left owed are set aside first, so that a claim finds only ours."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._presences: list[Presence] = []
        self.inbox = SqlInbox(engine, MemoryDefaults("", "wm"))
        self.stream = SqlStreamStore(engine)
        self.tools = SqlToolRequests(engine)
        self.ledger = SqlLedger(engine, TOPIC, CALL_SECONDS)
        self.control = SqlTurnControl(engine)
        self.transcripts = SqlTranscripts(engine)
        self.sessions = SqlSessions(engine)
        self.spending = SqlSpending(engine, DEFAULT_LIMIT)
        self.budgets = SqlBudgetDesk(engine, DEFAULT_LIMIT)
        self.book = SqlTurnBook(engine)
        self._set_aside()

    def _set_aside(self) -> None:
        """Nothing is owed or held any more, by whomever."""
        for table, _, owed in _TABLES.values():
            ended = "cancelled" if table in ("turns", "tool_calls", "export_jobs") else "dead"
            free = "lease_owner = NULL, lease_until = NULL, finished_at = now()"
            self._sql(f"UPDATE {table} SET state = '{ended}', {free} WHERE state IN ({owed})")

    def process(self, lease_seconds: float = 30.0) -> Process:
        dsn = self._engine.url.render_as_string(hide_password=False)
        presence = _Awaited(create_engine(dsn, 2, "test presence"), "contract", lease_seconds)
        self._presences.append(presence)
        return Process(
            presence.owner,
            SqlTurns(self._engine, presence, lease_seconds),
            SqlMemoryOutbox(self._engine, presence, lease_seconds, TOPIC),
            SqlMessageOutbox(self._engine, presence, lease_seconds),
            SqlToolCalls(self._engine, presence, lease_seconds),
            SqlExportJobs(self._engine, presence, lease_seconds, ROOM, 24),
            presence,
        )

    def close(self) -> None:
        for presence in self._presences:
            presence.stop()
        self._set_aside()

    def pass_time(self, seconds: float) -> None:
        for table, _, owed in _TABLES.values():
            self._sql(
                f"UPDATE {table} SET run_at = run_at - make_interval(secs => :seconds),"
                f" lease_until = lease_until - make_interval(secs => :seconds) WHERE state IN ({owed})",
                seconds=seconds,
            )
        self._sql("UPDATE turns SET deadline_at = deadline_at - make_interval(secs => :seconds)", seconds=seconds)

    def now(self) -> datetime:
        found: datetime = self._sql("SELECT now()")[0][0]
        return found

    def sweep(self) -> dict[str, int]:
        return {**dict.fromkeys(_TABLES, 0), **SqlUpkeep(self._engine).end_leases_of_the_dead()}

    def row(self, kind: str, key: str) -> RowState:
        table, column, _ = _TABLES[kind]
        sql = f"SELECT state, attempts, last_error FROM {table} WHERE {column}::text = :key"
        return RowState(*self._sql(sql, key=key)[0])

    def deaths(self, kind: str, key: str) -> int:
        table, column, _ = _TABLES[kind]
        return int(self._sql(f"SELECT attempts - excused FROM {table} WHERE {column}::text = :key", key=key)[0][0])

    def owe(self, records: Sequence[WalRecord]) -> None:
        with self._engine.begin() as connection:
            owe_records(connection, list(records))

    def records_of(self, topic: str, dedupe_key: str) -> list[tuple[str, dict[str, Any], Sent | None]]:
        rows = self._sql(
            "SELECT state, payload, sent_partition, sent_offset FROM message_outbox"
            " WHERE topic = :topic AND dedupe_key = :dedupe_key",
            topic=topic, dedupe_key=dedupe_key,
        )  # fmt: skip
        return [(row[0], row[1], None if row[2] is None else Sent(row[2], row[3])) for row in rows]

    def change_session(self, session_id: str, paused: bool) -> None:
        self._sql("UPDATE sessions SET paused = :paused WHERE session_id = :id", paused=paused, id=session_id)

    def replicate(self, event_id: str) -> None:
        self._sql(
            "INSERT INTO memory_replica (event_id, tenant, wal_timestamp, version, body_digest)"
            " VALUES (:id, 't1', 1, 1, '')",
            id=event_id,
        )

    def _sql(self, statement: str, **values: Any) -> list[Any]:
        with self._engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []


class _Awaited(Presence):
    """A presence whose `start` returns once its lock is held: the heartbeat writes its row after that."""

    def __init__(self, engine: Engine, name: str, lease_seconds: float) -> None:
        super().__init__(engine, name, lease_seconds)
        self._own_engine = engine

    def start(self) -> None:
        super().start()
        eventually(self._is_seen)

    def stop(self) -> None:
        super().stop()
        self._own_engine.dispose()

    def _is_seen(self) -> bool:
        with self._own_engine.connect() as connection:
            found = connection.execute(text("SELECT 1 FROM processes WHERE owner = :owner"), {"owner": self.owner})
            return found.scalar() is not None

"""Postgres, as far as the services know it, in one object: inbox, turns, both outboxes and what streams read.

Every process gets its own view (`turns(presence)`, `memory_outbox(owner)`, …) on the one truth.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.adapters.sql.inbox import MemoryDefaults
from app.domain.conversation import Receipt, RequestKey, Turn, UserMessage
from app.domain.conversation_control import Stopping, Why
from app.domain.endings import cancelled, late, worn_out
from app.domain.errors import Conflict, KeyReused, LeaseLost, NotFound, Rejected, StoreUnavailable
from app.domain.events import ENDS_A_TURN, EventType, NewEvent, SessionEvent, envelope
from app.domain.json_text import storable
from app.domain.kept_text import Saved
from app.domain.leases import MAX_ATTEMPTS, MAX_CLAIMS, Lease
from app.domain.ledger import Acceptance, Accepted, Entry, Forgetting, Known, judge
from app.domain.memory import (
    Memory,
    Place,
    Remembered,
    WalRecord,
    digest_of,
    memory_of,
    place_of,
    tool_memory_of,
    wal_delete,
    wal_write,
)
from app.domain.ports import WAKE_LIMIT, OwedMemory, OwedRecord, Sent
from app.domain.stream import Delta
from app.domain.terms import WhileBusy
from app.domain.tool_loop import Step, StepPlan, TakenStep
from app.domain.tools import ToolCall, ToolEnd, ToolRequest, queued_event
from app.domain.transcript import Summary
from tests.fakes_parts import FakeClock
from tests.fakes_sessions import InMemorySessions
from tests.fakes_transcripts import InMemoryTranscripts
from tests.fakes_work import Row, WorkTable

_DEFAULTS = MemoryDefaults("", "wm")
_WORN_OUT = f"a worker died {MAX_ATTEMPTS} times while delivering it"

Act = Callable[[WorkTable[Any]], set[str]]


@dataclass
class FakeSession:
    """One session's row."""

    tenant: str
    persona_id: str | None
    next_seq: int = 0
    paused: bool = False
    title: str | None = None
    heard_after: int = 0


@dataclass
class FakeTurn:
    """What a turn's row holds beside its lease."""

    event_id: str
    session_id: str
    seq: int
    tenant: str
    message: UserMessage
    persona_id: str | None
    partial_text: str = ""
    cancel_requested: bool = False
    steps: list[Step] = field(default_factory=list)
    undecided: int = 0


@dataclass
class FakeRecord:
    """A record and, once it is sent, where Kafka put it."""

    record: WalRecord
    sent: Sent | None = None


@dataclass
class FakeLine:
    """A line of the ledger."""

    memory: Memory
    accepted_at: datetime
    forgotten: bool = False


@dataclass
class FakePresence:
    """A process's presence: alive from `start` to `stop`; a process that is killed is one that stops."""

    owner: str
    store: "InMemoryStore"
    working: "Counter[str]" = field(default_factory=Counter)

    def start(self) -> None:
        self.store.alive.add(self.owner)

    def stop(self) -> None:
        self.store.alive.discard(self.owner)

    @contextmanager
    def working_on(self, key: str) -> Iterator[None]:
        self.working[key] += 1
        try:
            yield
        finally:
            self.working[key] -= 1


class InMemoryStore:
    """The truth. Set `down` to meet its outage."""

    def __init__(self, clock: FakeClock | None = None, memories: MemoryDefaults | None = _DEFAULTS):
        self.clock = clock or FakeClock()
        self.down = False
        self.alive: set[str] = set()
        self.replicated: set[str] = set()
        self.superseded: set[str] = set()
        self.summaries: dict[tuple[str, int], Summary] = {}
        self.sessions: dict[str, FakeSession] = {}
        self.events: dict[str, list[SessionEvent]] = defaultdict(list)
        self.turn_rows: WorkTable[FakeTurn] = WorkTable(self.clock, "queued", "running", isolates_suspects=True)
        self.memory_rows: WorkTable[Memory] = WorkTable(self.clock, "pending", "pending")
        self.ledger_lines: dict[str, FakeLine] = {}
        self.call_rows: WorkTable[ToolRequest] = WorkTable(self.clock, "queued", "running")
        self.call_results: dict[str, dict[str, Any]] = {}
        self.export_rows: WorkTable[Any] = WorkTable(self.clock, "queued", "running")
        self.webhook_rows: WorkTable[Any] = WorkTable(self.clock, "pending", "pending")
        self.record_rows: WorkTable[FakeRecord] = WorkTable(self.clock, "pending", "pending")
        self._survived: list[tuple[WorkTable[Any], Sequence[Lease]]] = []
        self._memories = memories
        self._keys: dict[tuple[str, str, str, str], tuple[str, Receipt]] = {}
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            if self.down:
                raise StoreUnavailable("Postgres is not answering: down")
            self._excuse()
            yield

    def survived(self, table: WorkTable[Any], leases: Sequence[Lease]) -> None:
        """Kept while the store does not listen, as a heartbeat keeps it."""
        self._survived.append((table, leases))
        if not self.down:
            self._excuse()

    def end(self, table: WorkTable[Any], leases: Sequence[Lease], step: Act) -> set[str]:
        """End these claims; `step` gives the keys that were still theirs, the owner of the others lives."""
        with self.transaction():
            ours = step(table)
        self.survived(table, [lease for lease in leases if lease.key not in ours])
        return ours

    def _excuse(self) -> None:
        while self._survived:
            table, leases = self._survived.pop()
            table.excuse(leases)

    # --- views, one per process

    def presence(self, name: str) -> FakePresence:
        return FakePresence(name, self)

    def inbox(self) -> "InMemoryInbox":
        return InMemoryInbox(self)

    def turns(self, presence: FakePresence, lease_seconds: float = 30.0) -> "InMemoryTurns":
        return InMemoryTurns(self, presence, lease_seconds)

    def turn_control(self) -> "InMemoryTurnControl":
        return InMemoryTurnControl(self)

    def transcripts(self) -> "InMemoryTranscripts":
        return InMemoryTranscripts(self)

    def session_desk(self) -> InMemorySessions:
        return InMemorySessions(self)

    def tool_requests(self) -> "InMemoryToolRequests":
        return InMemoryToolRequests(self)

    def tool_calls(self, presence: FakePresence, lease_seconds: float = 30.0) -> "InMemoryToolCalls":
        return InMemoryToolCalls(self, presence, lease_seconds)

    def memory_outbox(self, owner: str, lease_seconds: float = 30.0) -> "InMemoryMemoryOutbox":
        return InMemoryMemoryOutbox(self, owner, lease_seconds)

    def ledger(self, call_seconds: float = 6.0) -> "InMemoryLedger":
        return InMemoryLedger(self, call_seconds)

    def message_outbox(self, owner: str, lease_seconds: float = 30.0) -> "InMemoryMessageOutbox":
        return InMemoryMessageOutbox(self, owner, lease_seconds)

    def stream_store(self) -> "InMemoryStreamStore":
        return InMemoryStreamStore(self)

    # --- what several views do

    def end_leases_of_the_dead(self) -> dict[str, int]:
        with self.transaction():
            return {
                "turn": self.turn_rows.end_leases_of(self._is_gone),
                "memory": self.memory_rows.end_leases_of(self._is_gone),
                "record": self.record_rows.end_leases_of(self._is_gone),
                "tool_call": self.call_rows.end_leases_of(self._is_gone),
                "export": self.export_rows.end_leases_of(self._is_gone),
                "webhook": self.webhook_rows.end_leases_of(self._is_gone),
            }

    def _is_gone(self, owner: str) -> bool:
        return owner not in self.alive

    def owed_calls(self, event_id: str) -> list[Row[ToolRequest]]:
        return [row for row in self.call_rows.owed if row.thing.turn_event_id == event_id]

    def call_off(self, event_id: str) -> None:
        for row in self.owed_calls(event_id):
            if row.state == "queued":
                self.call_rows.close(row, "cancelled")

    def append(self, session_id: str, event: NewEvent, turn_seq: int | None, traceparent: str | None) -> SessionEvent:
        session = self.sessions[session_id]
        session.next_seq += 1
        turn_seq = session.next_seq if event.type is EventType.USER else turn_seq
        placed = SessionEvent(
            event.event_id, session_id, session.persona_id, session.tenant, event.type, event.role, event.message,
            event.metadata, session.next_seq, turn_seq, self.clock.now(), traceparent, event.also,
        )  # fmt: skip
        self.events[session_id].append(placed)
        return placed

    def owe_records(self, records: Sequence[WalRecord]) -> None:
        for record in records:
            key = f"{record.topic}\n{record.dedupe_key}"
            if key not in self.record_rows.rows:
                self.record_rows.add(key, FakeRecord(record))

    def owe_memory(self, memory: Memory) -> bool:
        if memory.event_id in self.ledger_lines:
            return False
        self.ledger_lines[memory.event_id] = FakeLine(memory, self.clock.now())
        self.memory_rows.add(memory.event_id, memory)
        return True

    def keep(self, message: UserMessage) -> tuple[SessionEvent, SessionEvent]:
        session = self.sessions.setdefault(message.session_id, FakeSession(message.tenant, message.persona_id))
        session.title = session.title or message.title
        session.persona_id = message.persona_id or session.persona_id
        said = NewEvent(message.event_id, EventType.USER, "user", message.text, message.metadata)
        started = NewEvent(f"{message.event_id}:started", EventType.STARTED, "assistant", "", {"status": "started"})
        user = self.append(message.session_id, said, None, message.traceparent)
        begun = self.append(message.session_id, started, user.seq, message.traceparent)
        turn = FakeTurn(message.event_id, message.session_id, user.seq, session.tenant, message, session.persona_id)
        self.turn_rows.add(message.event_id, turn)
        if self._memories is not None and message.terms.remembered:
            where = place_of(user.tenant, message.metadata, self._memories.universe, self._memories.namespace)
            self.owe_memory(memory_of(user, where, message.attachments))
        return user, begun

    def first_receipt(self, key: RequestKey) -> Receipt | None:
        known = self._keys.get((key.tenant, key.route, key.principal, key.key))
        if known is None:
            return None
        digest, receipt = known
        if digest != key.body_digest:
            raise KeyReused("this Idempotency-Key was used with another body; use a new key for a new request")
        return Receipt(receipt.session_id, receipt.event_id, replayed=True)

    def take_key(self, key: RequestKey, receipt: Receipt) -> None:
        self._keys[key.tenant, key.route, key.principal, key.key] = (key.body_digest, receipt)


@dataclass
class InMemoryInbox:
    """`Inbox`."""

    store: InMemoryStore

    def accept(self, message: UserMessage, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        with self.store.transaction():
            first = self.store.first_receipt(key) if key else None
            if first is not None:
                return first, ()
            known = self.store.sessions.get(message.session_id)
            if known is not None and message.tenant_named and known.tenant != message.tenant:
                raise NotFound("there is no such session")
            if not storable(message.text):
                raise Rejected("the text holds characters that cannot be stored")
            self._make_way(message)
            events = self.store.keep(message)
            receipt = Receipt(message.session_id, message.event_id)
            if key is not None:
                self.store.take_key(key, receipt)
            return receipt, events

    def _make_way(self, message: UserMessage) -> None:
        owed = [row for row in self.store.turn_rows.owed if row.thing.session_id == message.session_id]
        if owed and message.terms.while_busy is WhileBusy.REJECT:
            raise Conflict("an answer is still owed in this session")
        for row in owed if message.terms.while_busy is WhileBusy.INTERRUPT else ():
            row.thing.cancel_requested = True
        if message.terms.replaces is not None:
            self._replace(message.session_id, message.terms.replaces)

    def _replace(self, session_id: str, event_id: str) -> None:
        latest = self.store.transcripts().latest(session_id)
        if latest is None or latest.event_id != event_id:
            raise Conflict("the conversation has gone on meanwhile")
        said = self.store.events[session_id]
        self.store.superseded |= {event.event_id for event in said if event.turn_seq == latest.seq}


@dataclass
class InMemoryTurns:
    """`Turns` of one process."""

    store: InMemoryStore
    presence: FakePresence
    lease_seconds: float = 30.0

    @contextmanager
    def working_on(self, event_id: str) -> Iterator[None]:
        with self.presence.working_on(event_id):
            yield

    def claim(self, event_id: str) -> Turn | None:
        with self.store.transaction():
            rows = self.store.turn_rows.claim(
                self.presence.owner, self.lease_seconds, 1, lambda row: row.key == event_id and self._in_order(row)
            )
            if not rows:
                return None
            rows[0].thing.partial_text = ""
            turn = _turn(rows[0])
            if rows[0].thing.cancel_requested:
                self.store.call_off(turn.event_id)
                self._end(turn, cancelled(turn.event_id), "cancelled")
                return None
            if self._is_late(turn):
                self.store.call_off(turn.event_id)
                self._end(turn, late(turn), "failed")
                return None
            if not rows[0].is_worn_out and turn.claims <= MAX_CLAIMS:
                return turn
            self._end(turn, worn_out(turn), "dead")
            return None

    def _in_order(self, row: Row[FakeTurn]) -> bool:
        if self.store.sessions[row.thing.session_id].paused and not row.thing.cancel_requested:
            return False
        if self.store.owed_calls(row.key) and not row.thing.cancel_requested:
            return False
        owed = self.store.turn_rows.owed
        return not any(o.thing.session_id == row.thing.session_id and o.thing.seq < row.thing.seq for o in owed)

    def save_partials(self, texts: Sequence[tuple[Turn, str]]) -> Saved:
        with self.store.transaction():
            kept = frozenset(turn.event_id for turn, text in texts if self._save(turn, text))
            return Saved(kept, frozenset(turn.event_id for turn, _ in texts) - kept)

    def _save(self, turn: Turn, text: str) -> bool:
        try:
            self._ours(turn).thing.partial_text = text
        except LeaseLost:
            return False
        return True

    def asked_to_stop(self, event_ids: Collection[str]) -> dict[str, Why]:
        with self.store.transaction():
            rows = [row for row in self.store.turn_rows.owed if row.key in event_ids and row.state == "running"]
            tardy = {row.key: Why.LATE for row in rows if self._is_late(_turn(row))}
            return tardy | {row.key: Why.CANCELLED for row in rows if row.thing.cancel_requested}

    def _is_late(self, turn: Turn) -> bool:
        return turn.deliver_before is not None and turn.deliver_before <= self.store.clock.now()

    def note(self, turn: Turn, event: NewEvent) -> SessionEvent:
        with self.store.transaction():
            self._ours(turn)
            return self.store.append(turn.session_id, event, turn.seq, turn.traceparent)

    def take_step(self, turn: Turn, plan: StepPlan) -> Sequence[SessionEvent]:
        with self.store.transaction():
            row = self._ours(turn)
            self.store.turn_rows.release([_lease(turn)])
            row.thing.steps.append(plan.step)
            row.failures, row.last_error = 0, None
            return [self._queue(turn, call) for call in plan.calls]

    def _queue(self, turn: Turn, call: ToolRequest) -> SessionEvent:
        assert call.call_id not in self.store.call_rows.rows
        self.store.call_rows.add(call.call_id, call)
        return self.store.append(turn.session_id, queued_event(call), turn.seq, turn.traceparent)

    def steps(self, turn: Turn) -> list[TakenStep]:
        with self.store.transaction():
            kept = self.store.call_results
            steps = self.store.turn_rows.rows[turn.event_id].thing.steps
            ids = [call_id for step in steps for call_id in step.call_ids(turn.event_id)]
            return [TakenStep(step, {key: kept[key] for key in ids if key in kept}) for step in steps]

    def finish(self, turn: Turn, event: NewEvent, state: str, memory_place: Place | None) -> SessionEvent:
        with self.store.transaction():
            ended = self._end(turn, event, state)
            if memory_place is not None:
                self.store.owe_memory(memory_of(ended, memory_place))
            return ended

    def _end(self, turn: Turn, event: NewEvent, state: str) -> SessionEvent:
        self._ours(turn)
        assert event.type in ENDS_A_TURN
        self.store.turn_rows.settle([_lease(turn)], state, str(event.metadata.get("reason", "")))
        return self.store.append(turn.session_id, event, turn.seq, turn.traceparent)

    def _ours(self, turn: Turn) -> Row[FakeTurn]:
        if not self.store.turn_rows.holds(_lease(turn)):
            raise LeaseLost("the turn belongs to another attempt")
        return self.store.turn_rows.rows[turn.event_id]

    def postpone(self, turn: Turn, seconds: float, reason: str) -> None:
        lease = _lease(turn)
        self.store.end(
            self.store.turn_rows, [lease], lambda rows: rows.postpone([lease], seconds, reason, outage=False)
        )

    def wait(self, turn: Turn, seconds: float, reason: str) -> None:
        lease = _lease(turn)
        ours = self.store.end(self.store.turn_rows, [lease], lambda rows: rows.wait([lease], seconds, reason))
        for key in ours:
            self.store.turn_rows.rows[key].thing.undecided += 1

    def lose(self, turn: Turn, reason: str) -> None:
        with self.store.transaction():
            self.store.turn_rows.lose([_lease(turn)], reason)

    def survived(self, turn: Turn) -> None:
        self.store.survived(self.store.turn_rows, [_lease(turn)])

    def next_due(self, session_id: str) -> str | None:
        with self.store.transaction():
            rows = [row for row in self.store.turn_rows.owed if row.thing.session_id == session_id]
            now = self.store.clock.monotonic()
            due = [row.key for row in rows if row.state == "queued" and row.run_at <= now]
            return due[0] if due else None

    def due(self, limit: int) -> list[str]:
        with self.store.transaction():
            rows = self.store.turn_rows
            return [row.key for row in rows.owed if rows.is_due(row) and self._in_order(row)][:limit]


def _turn(row: Row[FakeTurn]) -> Turn:
    thing, lease = row.thing, row.lease
    return Turn(
        thing.event_id, thing.session_id, thing.seq, thing.tenant, thing.persona_id, thing.message.metadata,
        row.attempts, lease.owner, row.failures, row.attempts - row.excused - 1, thing.message.traceparent,
        thing.message.request, thing.message.terms.deliver_before, thing.message.subject,
        len(thing.steps), thing.undecided,
    )  # fmt: skip


def _lease(turn: Turn) -> Lease:
    return Lease(turn.event_id, turn.lease_owner, turn.attempts, turn.failures)


@dataclass
class InMemoryTurnControl:
    """`TurnControl`."""

    store: InMemoryStore

    def cancel(self, session_id: str, event_id: str | None) -> Stopping:
        with self.store.transaction():
            owed = [
                row
                for row in self.store.turn_rows.owed
                if row.thing.session_id == session_id and event_id in (None, row.key)
            ]
            if not owed:
                return Stopping(False)
            row = min(owed, key=lambda row: row.thing.seq)
            row.thing.cancel_requested = True
            if row.state == "running":
                return Stopping(True)
            self.store.turn_rows.close(row, "cancelled")
            self.store.call_off(row.key)
            return Stopping(True, self.store.append(session_id, cancelled(row.key), row.thing.seq, None))


@dataclass
class InMemoryToolRequests:
    """`ToolRequests`."""

    store: InMemoryStore

    def accept(self, request: ToolRequest, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        with self.store.transaction():
            first = self.store.first_receipt(key) if key else None
            if first is not None:
                return first, ()
            known = self.store.sessions.get(request.session_id)
            if known is not None and request.tenant_named and known.tenant != request.tenant:
                raise NotFound("there is no such session")
            session = self.store.sessions.setdefault(
                request.session_id, FakeSession(request.tenant, request.persona_id)
            )
            session.persona_id = request.persona_id or session.persona_id
            event = self.store.append(request.session_id, queued_event(request), None, request.traceparent)
            self.store.call_rows.add(request.call_id, replace(request, tenant=session.tenant))
            receipt = Receipt(request.session_id, request.call_id)
            if key is not None:
                self.store.take_key(key, receipt)
            return receipt, (event,)


@dataclass
class InMemoryToolCalls:
    """`ToolCalls` of one process."""

    store: InMemoryStore
    presence: FakePresence
    lease_seconds: float = 30.0

    @contextmanager
    def working_on(self, call_id: str) -> Iterator[None]:
        with self.presence.working_on(call_id):
            yield

    def claim(self, call_id: str) -> ToolCall | None:
        with self.store.transaction():
            rows = self.store.call_rows.claim(
                self.presence.owner, self.lease_seconds, 1, lambda row: row.key == call_id
            )
            return _call(rows[0]) if rows else None

    def note(self, call: ToolCall, event: NewEvent) -> SessionEvent:
        with self.store.transaction():
            self._check(call)
            return self.store.append(call.session_id, event, None, call.traceparent)

    def finish(self, call: ToolCall, event: NewEvent, end: ToolEnd, memory_place: Place | None) -> SessionEvent:
        with self.store.transaction():
            self._check(call)
            self.store.call_rows.settle([call.lease], end.state, end.reason)
            self.store.call_results[call.call_id] = {"status": end.status.value, "payload": end.payload}
            ended = self.store.append(call.session_id, event, None, call.traceparent)
            if memory_place is not None:
                self.store.owe_memory(tool_memory_of(ended, memory_place))
            return ended

    def _check(self, call: ToolCall) -> None:
        if not self.store.call_rows.holds(call.lease):
            raise LeaseLost("the call belongs to another attempt")

    def give_back(self, call: ToolCall, begun: bool) -> None:
        self.store.end(self.store.call_rows, [call.lease], lambda rows: self._give_back(rows, call, begun))

    def _give_back(self, rows: WorkTable[ToolRequest], call: ToolCall, begun: bool) -> set[str]:
        ours = rows.release([call.lease])
        if ours and not begun:
            rows.rows[call.call_id].runs -= 1
        return ours

    def postpone(self, call: ToolCall, seconds: float, reason: str) -> None:
        self.store.end(
            self.store.call_rows, [call.lease], lambda rows: rows.postpone([call.lease], seconds, reason, outage=False)
        )

    def wait(self, call: ToolCall, seconds: float, reason: str) -> None:
        ours = self.store.end(self.store.call_rows, [call.lease], lambda rows: rows.wait([call.lease], seconds, reason))
        for key in ours:
            self.store.call_rows.rows[key].runs -= 1

    def survived(self, call: ToolCall) -> None:
        self.store.survived(self.store.call_rows, [call.lease])

    def due(self, limit: int) -> list[str]:
        with self.store.transaction():
            rows = self.store.call_rows
            return [row.key for row in rows.owed if rows.is_due(row)][:limit]


def _call(row: Row[ToolRequest]) -> ToolCall:
    asked, owner = row.thing, row.lease.owner
    return ToolCall(
        asked.call_id, asked.session_id, asked.tenant, asked.tool, asked.effect, asked.args, asked.metadata,
        row.attempts, row.runs, row.attempts - row.excused - 1, owner, row.failures, asked.traceparent,
        asked.persona_id, asked.turn_event_id,
    )  # fmt: skip


@dataclass
class InMemoryOutbox:
    """What both outboxes share; `rows` is the table of theirs."""

    store: InMemoryStore
    owner: str
    lease_seconds: float = 30.0

    @property
    def rows(self) -> WorkTable[Any]:
        raise AssertionError("an outbox has a table")

    def postpone(self, owed: Sequence[Any], seconds: float, reason: str, outage: bool) -> None:
        self._end(owed, lambda rows: rows.postpone([item.lease for item in owed], seconds, reason, outage))

    def release(self, owed: Sequence[Any]) -> None:
        self._end(owed, lambda rows: rows.release([item.lease for item in owed]))

    def bury(self, owed: Any, reason: str) -> None:
        self._end([owed], lambda rows: rows.settle([owed.lease], "dead", reason))

    def _end(self, owed: Sequence[Any], step: Act) -> set[str]:
        return self.store.end(self.rows, [item.lease for item in owed], step)

    def survived(self, owed: Sequence[Any]) -> None:
        self.store.survived(self.rows, [item.lease for item in owed])

    def waits_for_peer(self) -> bool:
        with self.store.transaction():
            return any(row.outage for row in self.rows.owed)

    def wake(self, limit: int = WAKE_LIMIT) -> int:
        with self.store.transaction():
            return self.rows.wake(limit)


@dataclass
class InMemoryMemoryOutbox(InMemoryOutbox):
    """`MemoryOutbox` of one process."""

    topic: str = "memory.wal"

    @property
    def rows(self) -> WorkTable[Memory]:
        return self.store.memory_rows

    def claim_due(self, limit: int) -> list[OwedMemory]:
        with self.store.transaction():
            return self._owed(_claim(self, limit))

    def claim_these(self, event_ids: Sequence[str]) -> list[OwedMemory]:
        with self.store.transaction():
            return self._owed(_claim(self, len(event_ids), event_ids))

    def _owed(self, rows: list[Row[Memory]]) -> list[OwedMemory]:
        lines = self.store.ledger_lines
        return [OwedMemory(row.lease, row.thing, lines[row.key].forgotten) for row in rows]

    def synced(self, remembered: Sequence[tuple[OwedMemory, Remembered]]) -> list[str]:
        with self.store.transaction():
            leases = [owed.lease for owed, _ in remembered]
            ours = self._end([owed for owed, _ in remembered], lambda rows: rows.settle(leases, "synced"))
            kept = [(owed.memory, receipt) for owed, receipt in remembered if owed.lease.key in ours]
            now = self.store.clock.now()
            self.store.owe_records([wal_write(memory, receipt, self.topic, now) for memory, receipt in kept])
            for lease in leases:
                row = self.rows.rows[lease.key]
                if lease.key not in ours and row.state == "synced" and self.store.ledger_lines[lease.key].forgotten:
                    row.state, row.run_at = "pending", self.store.clock.monotonic()
            return [memory.event_id for memory, _ in kept]

    def forgotten(self, owed: OwedMemory) -> bool:
        return bool(self._end([owed], lambda rows: rows.settle([owed.lease], "synced")))


@dataclass
class InMemoryLedger:
    """`Ledger`. `store.ledger_lines` is what it holds."""

    store: InMemoryStore
    call_seconds: float = 6.0
    topic: str = "memory.wal"

    def accept(self, memories: Sequence[Memory], key: RequestKey | None = None) -> Accepted:
        with self.store.transaction():
            replayed = key is not None and self.store.first_receipt(key) is not None
            judged = [self._accept(memory, replayed) for memory in memories]
            if key is not None and not replayed:
                self.store.take_key(key, Receipt("", ""))
            return Accepted(judged, replayed)

    def _accept(self, memory: Memory, replayed: bool) -> Acceptance:
        line = self.store.ledger_lines.get(memory.event_id)
        if line is None and not replayed:
            self.store.owe_memory(memory)
        row = self.store.memory_rows.rows.get(memory.event_id)
        state, error = (row.state, row.last_error) if row else (None, None)
        said = None if line is None else digest_of(line.memory.payload)
        known = None if line is None else Known(line.memory.place.tenant, said, line.forgotten, state, error)
        return judge(memory, digest_of(memory.payload), known)

    def forget(self, event_id: str, tenant: str) -> Forgetting | None:
        with self.store.transaction():
            line = self.store.ledger_lines.get(event_id)
            if line is None or line.memory.place.tenant != tenant:
                return None
            row = self.store.memory_rows.rows[event_id]
            if line.forgotten:
                return Forgetting(line.memory, row.state == "synced")
            line.memory = replace(line.memory, payload={}, version=line.memory.version + 1)
            line.forgotten = True
            self._owe_forgetting(row, line.memory)
            return Forgetting(line.memory, done=False)

    def _owe_forgetting(self, row: Row[Memory], memory: Memory) -> None:
        pause = self.call_seconds if row.owner is not None else 0.0
        row.thing, row.state, row.owner, row.lease_until = memory, "pending", None, 0.0
        row.run_at = self.store.clock.monotonic() + pause
        row.attempts += 1
        row.excused, row.failures, row.outage, row.last_error = row.attempts, 0, False, None
        self.store.owe_records([wal_delete(memory, self.topic, self.store.clock.now())])

    def entries(self, event_ids: Sequence[str]) -> dict[str, Entry]:
        with self.store.transaction():
            found = {key: self.store.ledger_lines[key] for key in event_ids if key in self.store.ledger_lines}
            return {key: _entry(line) for key, line in found.items()}


def _entry(line: FakeLine) -> Entry:
    memory = line.memory
    return Entry(memory.place.tenant, memory.role, memory.session_id, line.accepted_at, line.forgotten)


@dataclass
class InMemoryMessageOutbox(InMemoryOutbox):
    """`MessageOutbox` of one process."""

    @property
    def rows(self) -> WorkTable[FakeRecord]:
        return self.store.record_rows

    def claim_due(self, limit: int) -> list[OwedRecord]:
        with self.store.transaction():
            return [OwedRecord(row.lease, row.thing.record) for row in _claim(self, limit)]

    def sent(self, acknowledged: Sequence[tuple[OwedRecord, Sent]]) -> None:
        with self.store.transaction():
            leases = [owed.lease for owed, _ in acknowledged]
            ours = self._end([owed for owed, _ in acknowledged], lambda rows: rows.settle(leases, "sent"))
            for owed, place in acknowledged:
                if owed.lease.key in ours:
                    self.rows.rows[owed.lease.key].thing.sent = place


def _claim(outbox: InMemoryOutbox, limit: int, keys: Sequence[str] | None = None) -> list[Row[Any]]:
    rows = outbox.rows.claim(outbox.owner, outbox.lease_seconds, limit, lambda row: keys is None or row.key in keys)
    worn = [row for row in rows if row.is_worn_out]
    outbox.rows.settle([row.lease for row in worn], "dead", _WORN_OUT)
    return [row for row in rows if row not in worn]


@dataclass
class InMemoryStreamStore:
    """`StreamStore`. `store.replicated` tells which memories the replica has."""

    store: InMemoryStore

    def tenant_of(self, session_id: str) -> str | None:
        with self.store.transaction():
            session = self.store.sessions.get(session_id)
            return session.tenant if session else None

    def head(self, session_id: str) -> int:
        with self.store.transaction():
            session = self.store.sessions.get(session_id)
            return session.next_seq if session else 0

    def events_after(self, session_id: str, seq: int, limit: int) -> list[dict[str, Any]]:
        with self.store.transaction():
            return [envelope(event) for event in self.store.events[session_id] if event.seq > seq][:limit]

    def partial(self, session_id: str) -> Delta | None:
        with self.store.transaction():
            for row in self.store.turn_rows.rows.values():
                turn = row.thing
                if turn.session_id == session_id and row.state == "running" and turn.partial_text:
                    return Delta(self._begun(turn), row.attempts, 0, turn.partial_text)
            return None

    def _begun(self, turn: FakeTurn) -> int:
        events = self.store.events[turn.session_id]
        return max(e.seq for e in events if e.turn_seq == turn.seq and e.type is EventType.THINKING)

    def memory_states(self, session_id: str) -> dict[str, str]:
        with self.store.transaction():
            rows = [row for row in self.store.memory_rows.rows.values() if row.thing.session_id == session_id]
            return {row.key: self._state(row) for row in rows[-100:]}

    def _state(self, row: Row[Memory]) -> str:
        if row.key in self.store.replicated:
            return "replicated"
        return {"synced": "remembered", "dead": "refused"}.get(row.state, "accepted")

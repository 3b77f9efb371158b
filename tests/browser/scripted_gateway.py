"""A gateway with a script: a real HTTP server on loopback that speaks the contract and breaks where a test tells it to.

It keeps messages in memory and answers each with `answer_for(text)`, one piece at a time, at the pace of `pieces`
(a semaphore that a test can hold back). Streams use the product's own cursor rules.
"""

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Any

from app.domain.events import EventType, SessionEvent, envelope, live_item
from app.domain.stream import Cursor, Delta, StreamMerge

LOOK_SECONDS = 0.01


class Script:
    """What the gateway does; tests change it while it runs."""

    def __init__(self) -> None:
        self.work: Callable[[Session], None] = lambda _session: None
        self.answer_for: Callable[[str], str] = lambda text: f"You said **{text}**."
        self.piece_size = 5
        self.piece_seconds = 0.005
        self.held = False
        self.ending = EventType.FINAL
        self.ending_metadata: dict[str, Any] = {}
        self.unanswered = 0
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.stream_status = 200
        self.items_per_stream = 0
        self.heartbeat_seconds = 15.0
        self.memories = True
        self.config: dict[str, Any] = {"model_is_toy": True, "features": {"websocket_enabled": True}}


class Session:
    """One conversation: its durable events, the running answer, how far memories are."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.events: list[dict[str, Any]] = []
        self.running: Delta | None = None
        self.stopped = False
        self.title = ""
        self.paused = False
        self.origin: dict[str, Any] = {}
        self.memory: dict[str, str] = {}
        self.lock = threading.RLock()
        self.turns = threading.Lock()

    def add(
        self, kind: EventType, event_id: str, message: str = "", metadata: dict[str, Any] | None = None, **also: Any
    ) -> None:
        with self.lock:
            event = SessionEvent(
                event_id, self.id, None, "public", kind, "user" if kind is EventType.USER else "assistant", message,
                metadata or {}, len(self.events) + 1, None, datetime.now(UTC), also=also,
            )  # fmt: skip
            self.events.append(envelope(event))
            asked_for = {"action", "regenerates"} & (metadata or {}).keys()
            if kind is EventType.FINAL or (kind is EventType.USER and not asked_for):
                self.memory[event_id] = "accepted"


class ScriptedGateway:
    """The server; `port` stays the same while it goes away and comes back."""

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.port = port
        self._handler = handler
        self.base = f"http://127.0.0.1:{port}"
        self.script = Script()
        self.sessions: dict[str, Session] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.streams_opened: dict[str, list[str]] = defaultdict(list)
        self.connections: set[socket] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.come_back()

    def come_back(self) -> None:
        handler = type("BoundHandler", (self._handler,), {"gateway": self})
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def go_away(self) -> None:
        """Like a killed process: nobody listens, every connection breaks."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.break_connections()

    @property
    def is_away(self) -> bool:
        return self._server is None

    def break_connections(self) -> None:
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def said(self, session_id: str) -> list[str]:
        """The messages that were kept, in order."""
        return [event["message"] for event in self.session(session_id).events if event["type"] == "user"]

    def session(self, session_id: str) -> Session:
        with self._lock:
            return self.sessions.setdefault(session_id, Session(session_id))

    def accept(self, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        with self._lock:
            if key and key in self.receipts:
                return self.receipts[key]
        session = self.session(body.get("session_id") or str(uuid.uuid4()))
        receipt = {"accepted": True, "session_id": session.id, "event_id": str(uuid.uuid4())}
        with session.lock:
            session.title = session.title or body["message"]
            session.add(EventType.USER, receipt["event_id"], body["message"], body.get("metadata"))
            session.add(EventType.STARTED, f"{receipt['event_id']}:started", "", {"status": "started"})
        if key:
            self.receipts[key] = receipt
        threading.Thread(target=self._answer, args=(session, receipt["event_id"], body["message"]), daemon=True).start()
        return receipt

    def _answer(self, session: Session, event_id: str, text: str) -> None:
        with session.turns:
            while session.paused:
                self.pause(LOOK_SECONDS)
            self._begin(session, 1)
            self.script.work(session)
            self._say(session, self.script.answer_for(text))
            whole = session.running.text if session.running else ""
            with session.lock:
                session.running = None
                ending = EventType.CANCELLED if session.stopped else self.script.ending
                done = ending is EventType.FINAL
                metadata = {"status": "completed", "source": "script"} if done else self.script.ending_metadata
                session.add(ending, f"{event_id}:answer", whole if done or session.stopped else "", metadata)
                session.stopped = False

    @staticmethod
    def _begin(session: Session, attempt: int) -> None:
        with session.lock:
            session.add(EventType.THINKING, str(uuid.uuid4()), "", {"attempt": attempt})
            session.running = Delta(len(session.events), attempt, 0, "")

    def _say(self, session: Session, answer: str) -> None:
        end = 0
        while end < len(answer) and not session.stopped:
            self.pause(self.script.piece_seconds)
            running = session.running
            if running is None or (self.script.held and end > len(answer) // 2):
                continue
            end = (0 if running.text == "" else end) + self.script.piece_size
            session.running = replace(running, text=answer[:end])

    @staticmethod
    def pause(seconds: float) -> None:
        threading.Event().wait(seconds)

    def start_again(self, session_id: str) -> None:
        """The running turn's worker died; another begins it anew."""
        session = self.session(session_id)
        self._begin(session, session.running.attempt + 1 if session.running else 2)

    def remember_all(self, session_id: str, state: str) -> None:
        session = self.session(session_id)
        session.memory = dict.fromkeys(session.memory, state)

    def follow(self, session: Session, cursor: Cursor) -> Iterator[dict[str, Any] | None]:
        """Items behind a cursor, None for a heartbeat, for as long as somebody reads."""
        merge = StreamMerge(session.id, cursor)
        told: dict[str, str] = {}
        spoke = time.monotonic()
        while True:
            items = list(self._news(session, merge))
            if self.script.memories and session.memory != told:
                told = dict(session.memory)
                items.append(live_item(session.id, EventType.MEMORY_STATUS, "", told, datetime.now(UTC)))
            if items or time.monotonic() - spoke > self.script.heartbeat_seconds:
                spoke = time.monotonic()
                yield from items or [None]
            self.pause(LOOK_SECONDS)

    def _news(self, session: Session, merge: StreamMerge) -> Iterator[dict[str, Any]]:
        with session.lock:
            events, running = list(session.events), session.running
        for event in events:
            yield from merge.durable(event, datetime.now(UTC))
        if running is not None:
            yield from merge.delta(running, datetime.now(UTC))

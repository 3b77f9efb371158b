"""`Sessions`, in memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes_store import FakeSession, InMemoryStore


@dataclass
class InMemorySessions:
    """On the truth that everybody else sees."""

    store: "InMemoryStore"

    def pause(self, session_id: str, paused: bool) -> bool:
        session = self._find(session_id)
        if session is not None:
            session.paused = paused
        return session is not None

    def next_due(self, session_id: str) -> str | None:
        return self.store.turns(self.store.presence("nobody")).next_due(session_id)

    def rename(self, session_id: str, title: str) -> bool:
        session = self._find(session_id)
        if session is not None:
            session.title = title
        return session is not None

    def reset(self, session_id: str) -> bool:
        session = self._find(session_id)
        if session is None:
            return False
        session.heard_after = session.next_seq
        for row in self.store.turn_rows.owed:
            row.thing.cancel_requested |= row.thing.session_id == session_id
        self.store.summaries = {key: made for key, made in self.store.summaries.items() if key[0] != session_id}
        return True

    def delete(self, session_id: str) -> bool:
        if self._find(session_id) is None:
            return False
        del self.store.sessions[session_id]
        self.store.events.pop(session_id, None)
        rows = self.store.turn_rows.rows
        for key in [row.key for row in rows.values() if row.thing.session_id == session_id]:
            del rows[key]
        return True

    def _find(self, session_id: str) -> "FakeSession | None":
        with self.store.transaction():
            return self.store.sessions.get(session_id)

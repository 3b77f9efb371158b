"""The turns that were ever accepted, in memory."""

from dataclasses import dataclass

from app.domain.events import ENDS_A_TURN, SessionEvent, envelope
from app.domain.kept_turns import KeptTurn
from app.domain.turn_request import request_of
from tests.fakes_store import InMemoryStore


@dataclass
class InMemoryTurnBook:
    """`TurnBook`."""

    store: InMemoryStore

    def find(self, event_id: str, /) -> KeptTurn | None:
        with self.store.transaction():
            row = self.store.turn_rows.rows.get(event_id)
            if row is None:
                return None
            thing = row.thing
            events = [event for event in self.store.events[thing.session_id] if self._of(event, thing.seq)]
            ends = [envelope(event) for event in events if event.type in ENDS_A_TURN]
            return KeptTurn(
                thing.event_id, thing.session_id, thing.seq, thing.tenant, row.state, thing.message.metadata,
                request_of(thing.message.request.as_json()), events[0].created_at, ends[0] if ends else None,
            )  # fmt: skip

    def _of(self, event: SessionEvent, seq: int) -> bool:
        return seq in (event.seq, event.turn_seq)

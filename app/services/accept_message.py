"""Step 2 of the line: a message that was accepted cannot be lost, even if everything but Postgres is away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.events import SessionEvent, envelope
from app.domain.ports import Broadcast, Doorbell, Inbox
from app.routing import TaskName


class Hints(Protocol):
    """What hurries and shows what is kept already."""

    @property
    def doorbell(self) -> Doorbell: ...
    @property
    def broadcast(self) -> Broadcast: ...


@dataclass(frozen=True, slots=True)
class Reception:
    """What accepting needs: the inbox that keeps, the bell that hurries, the broadcast that shows."""

    inbox: Inbox
    doorbell: Doorbell
    broadcast: Broadcast


def accept_message(message: UserMessage, key: RequestKey | None, reception: Reception) -> Receipt:
    """Keep the message, then hint at it; `StoreUnavailable` when it could not be kept."""
    receipt, events = reception.inbox.accept(message, key)
    hint_at(receipt.event_id, events, reception)
    return receipt


def hint_at(event_id: str, events: Sequence[SessionEvent], hints: Hints) -> None:
    """Show a message that is kept, and ring for its turn and its memory; all of it may be lost."""
    for event in events:
        hints.broadcast.publish(event.session_id, envelope(event))
    hints.doorbell.ring(TaskName.RESPOND, event_id)
    hints.doorbell.ring(TaskName.SYNC_MEMORIES)

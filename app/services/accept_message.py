"""Step 2 of the line: a message that was accepted cannot be lost, even if everything but Postgres is away."""

from dataclasses import dataclass

from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.events import envelope
from app.domain.ports import Broadcast, Doorbell, Inbox
from app.routing import TaskName


@dataclass(frozen=True, slots=True)
class Reception:
    """What accepting needs: the inbox that keeps, the bell that hurries, the broadcast that shows."""

    inbox: Inbox
    doorbell: Doorbell
    broadcast: Broadcast


def accept_message(message: UserMessage, key: RequestKey | None, reception: Reception) -> Receipt:
    """Keep the message, then hint at it; `StoreUnavailable` when it could not be kept."""
    receipt, events = reception.inbox.accept(message, key)
    for event in events:
        reception.broadcast.publish(event.session_id, envelope(event))
    reception.doorbell.ring(TaskName.RESPOND, receipt.event_id)
    reception.doorbell.ring(TaskName.SYNC_MEMORIES)
    return receipt

"""Somebody does not want an answer any more: nobody begins it, or whoever gives it stops within two seconds."""

from dataclasses import dataclass

from app.domain.conversation_control import TurnControl
from app.domain.events import envelope
from app.domain.ports import Broadcast


@dataclass(frozen=True, slots=True)
class ControlRoom:
    """What stopping needs: the store that keeps the wish, the broadcast that shows the end."""

    turns: TurnControl
    broadcast: Broadcast


def cancel_turn(session_id: str, event_id: str | None, control: ControlRoom) -> bool:
    """Keep the wish; false when there is nothing to stop. `StoreUnavailable` when it could not be kept."""
    stopping = control.turns.cancel(session_id, event_id)
    if stopping.end is not None:
        control.broadcast.publish(session_id, envelope(stopping.end))
    return stopping.found

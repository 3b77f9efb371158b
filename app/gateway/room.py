"""What every route of this gateway shares, kept on the Flask application."""

from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from app.adapters.http.open_streams import StreamSlots
from app.domain.audit import Actor
from app.services.check_health import Health
from app.wiring.serving import Serving

_KEY = "soma.room"


@dataclass(frozen=True, slots=True)
class Room:
    """The serving process, the health and the slots for open streams of this process."""

    serving: Serving
    health: Health
    slots: StreamSlots


def room() -> Room:
    """The room of the application that answers this request."""
    return cast(Room, current_app.extensions[_KEY])


def actor() -> Actor:
    """Who asks, for the audit; there is no login yet."""
    return Actor("anonymous", g.request_id)


def furnish(extensions: dict[str, object], furnished: Room) -> None:
    """Put the room where `room()` finds it."""
    extensions[_KEY] = furnished

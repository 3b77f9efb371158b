"""A turn as its caller finds it again: what was asked, how it stands, and its last word."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.domain.conversation import Scalar
from app.domain.turn_request import TurnRequest


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """One turn. `state` is that of its row, `end` the envelope of the event that ended it."""

    event_id: str
    session_id: str
    seq: int
    tenant: str
    state: str
    metadata: Mapping[str, Scalar]
    request: TurnRequest
    created_at: datetime
    end: Mapping[str, Any] | None = None


class TurnBook(Protocol):
    """The turns that were ever accepted."""

    def find(self, event_id: str, /) -> KeptTurn | None:
        """The turn of this message; None where there never was one."""

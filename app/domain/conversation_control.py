"""What people want of a turn that is owed, and how those hear of it who answer it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.domain.events import SessionEvent


@dataclass(frozen=True, slots=True)
class Stopping:
    """Whether there was something to stop; `end` is its last word where nobody had begun to answer."""

    found: bool
    end: SessionEvent | None = None


class TurnControl(Protocol):
    """The turns, as those see them who asked for them."""

    def cancel(self, session_id: str, event_id: str | None) -> Stopping:
        """Stop this turn; without an id the one that is answered now, or the next one to be."""


class Why(StrEnum):
    """Why a turn is to end without its answer."""

    CANCELLED = "cancelled"
    LATE = "late"


class Stop(Protocol):
    """The wish that a turn ends."""

    def why(self) -> Why | None:
        """What for; None while it is not wished."""

    def then(self, act: Callable[[], None]) -> None:
        """Do this once it is wished, or at once; from any thread."""


class _Never:
    """`Stop` of what nobody can stop."""

    def why(self) -> None:
        return None

    def then(self, act: Callable[[], None]) -> None:
        """It will not be wished."""


NEVER: Stop = _Never()


class Stops(Protocol):
    """Hears wishes."""

    def heard(self, event_id: str, /) -> AbstractContextManager[Stop]:
        """While the block runs, a wish that this turn ends is heard within a second."""

"""How many may read at once: one session, and all sessions of one tenant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.rate_limit import OverLimit

_COME_BACK_SECONDS = 5.0
Leave = Callable[[], None]
"""Gives a place back; a second time it does nothing."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Readers that count together, and how many of them there may be; `name` is for people."""

    key: str
    limit: int
    name: str

    def is_full(self) -> OverLimit:
        """What the next one is told."""
        said = f"{self.name} has {self.limit} open streams, which is as many as it may have"
        return OverLimit(f"{said}; close one", _COME_BACK_SECONDS)


def crowds_of(session_id: str, tenant: str, session_limit: int, tenant_limit: int) -> tuple[Crowd, Crowd]:
    """The two crowds that a reader of this session belongs to."""
    return (
        Crowd(f"session:{session_id}", session_limit, "this session"),
        Crowd(f"tenant:{tenant}", tenant_limit, "this tenant"),
    )


class Audience(Protocol):
    """Counts who reads."""

    def enter(self, crowds: Sequence[Crowd]) -> Leave:
        """A place in each crowd, or `OverLimit` and no place in any; never waits long."""

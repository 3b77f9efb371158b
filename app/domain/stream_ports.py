"""What a stream needs from outside: the durable events of its session, and the live items of all."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from app.domain.stream import Delta


class StreamStore(Protocol):
    """What a stream reads from Postgres."""

    def tenant_of(self, session_id: str) -> str | None:
        """Whose session this is; None where nothing was ever said."""

    def head(self, session_id: str) -> int: ...

    def events_after(self, session_id: str, seq: int, limit: int) -> list[dict[str, Any]]: ...

    def partial(self, session_id: str) -> Delta | None:
        """The running answer from its first character, as far as it is durable."""

    def memory_states(self, session_id: str) -> dict[str, str]: ...


class LiveLine(Protocol):
    """One reader's queue of live items."""

    @property
    def connected(self) -> bool:
        """Whether Redis feeds it now."""

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next item, None after so long; `SlowReader` when the queue overflowed."""


class LiveFeed(Protocol):
    """Live items of all sessions, one subscription per process."""

    def attach(self, session_id: str) -> AbstractContextManager[LiveLine]: ...

"""Where sessions are read as documents and brought back, as a role."""

from collections.abc import Sequence, Set
from typing import Protocol

from app.domain.archive import Chat
from app.domain.conversation import Receipt, RequestKey


class Archives(Protocol):
    """The sessions, whole."""

    def read(self, session_id: str) -> Chat | None:
        """The session as it is now; `Rejected` where it has more events than a document holds."""

    def keep(self, chats: Sequence[Chat], receipt: Receipt, key: RequestKey | None) -> Receipt:
        """All of them become sessions, or none; a repeated key gives the first receipt again."""

    def taken(self, chats: Sequence[Chat]) -> Set[str]:
        """The ids of sessions and events that are in these documents and in use already."""

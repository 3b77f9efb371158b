"""What people do to a session as a whole, as a role."""

from typing import Protocol


class Sessions(Protocol):
    """The sessions. Every method says whether there was such a session."""

    def pause(self, session_id: str, paused: bool) -> bool:
        """Hold the turns that wait, or release them; one that is answered now goes on."""

    def next_due(self, session_id: str) -> str | None:
        """The event id of the next turn that may run now."""

    def rename(self, session_id: str, title: str) -> bool:
        """Call it so."""

    def reset(self, session_id: str) -> bool:
        """Stop what is owed, and let no later turn hear of what was said; people still see it."""

    def delete(self, session_id: str) -> bool:
        """Everything of it but its memories is gone; who answers in it has lost its lease."""

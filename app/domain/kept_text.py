"""What answers have come to so far, kept while they go on."""

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from app.domain.conversation import Turn


class Saved(NamedTuple):
    """Which turns' texts are durable now, and which turns belong to somebody else; of the others nothing is known."""

    kept: frozenset[str]
    lost: frozenset[str]


class Page(Protocol):
    """The text of one attempt."""

    def add(self, text: str, /) -> None:
        """It goes on so; durable soon, also when nothing follows. `LeaseLost` when another owns the turn by now."""


class Scribe(Protocol):
    """Writes down what every answer of this process has come to."""

    def writing_down(self, turn: Turn, /) -> AbstractContextManager[Page]:
        """While the block runs, the text of this attempt is kept."""

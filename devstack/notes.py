"""What a stack tells while it works: values, so that a console, a test or nobody may listen."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a note is meant."""

    STEP = "step"
    EVENT = "event"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Note:
    """A step that was done in `seconds`, an event in the life of a part, or a worrying line of its log."""

    kind: Kind
    name: str
    text: str
    seconds: float = 0.0


Report = Callable[[Note], None]


def silent(note: Note) -> None:
    """For those who do not listen."""

"""On what terms a message is sent: what becomes of an answer that is being given, and until when its own is wanted."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class WhileBusy(StrEnum):
    """What a message wants while answers are owed in its session."""

    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Terms:
    """`deliver_before`: nobody wants the answer after that. `replaces`: the message whose answer this one's is to take
    the place of. `remembered`: whether the message becomes a memory.
    """

    while_busy: WhileBusy = WhileBusy.ENQUEUE
    deliver_before: datetime | None = None
    replaces: str | None = None
    remembered: bool = True


USUAL = Terms()

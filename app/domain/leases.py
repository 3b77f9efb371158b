"""A lease: who holds a work row, on which attempt; completion is fenced by both."""

from dataclasses import dataclass

MAX_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Lease:
    """The claim on one row. `failures` counts the peer's failures before, for the pause."""

    key: str
    owner: str
    attempts: int
    failures: int = 0

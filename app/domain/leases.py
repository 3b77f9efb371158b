"""A lease: who holds a work row, on which attempt; completion is fenced by both."""

from dataclasses import dataclass

MAX_ATTEMPTS = 5
ALONE_AFTER_DEATHS = 2
"""A row with which so many workers died is claimed alone: what kills is found without taking its neighbours along."""
MAX_CLAIMS = 40
"""A turn that was claimed so often is set aside however its workers ended: none of them answered it. Claims that
ended with a step of its tools, or without a decision of the policy, do not count.
"""
ORPHAN_SECONDS = 3
"""A claim that is younger than this may not be in its heartbeat's list yet."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The claim on one row. `failures` counts the peer's failures before, for the pause."""

    key: str
    owner: str
    attempts: int
    failures: int = 0

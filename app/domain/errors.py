"""The three families that decide what happens next: try again later, refuse for good, do not start.

Adapters translate their drivers' errors into these at the border; doors translate them into HTTP answers and task
outcomes. `Misconfigured` lives in `app.settings`, below everything, and is repeated here for convenience.
"""

from collections.abc import Mapping
from typing import Any

from app.settings import Misconfigured

__all__ = [
    "BatchRefused",
    "BrainCannotForget",
    "BrainCannotList",
    "BrainForbidden",
    "BrainUnavailable",
    "BudgetSpent",
    "CommitUnheard",
    "Conflict",
    "KeyReused",
    "LeaseLost",
    "MemoryRefused",
    "Misconfigured",
    "ModelRefused",
    "ModelUnavailable",
    "NotFound",
    "PoisonRecord",
    "PolicyDenied",
    "PolicyUnavailable",
    "ProcessDied",
    "ReceiverUnavailable",
    "Rejected",
    "Retryable",
    "SlowReader",
    "StoreUnavailable",
    "TooManyStreams",
    "WalUnavailable",
]


class Retryable(Exception):
    """The same call may succeed later: the row waits, HTTP answers 503. `retry_after` is the peer's wish in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailable(Retryable):
    """Postgres refused, timed out or broke the connection, and nothing was kept: no COMMIT had been sent, or it is the
    one that `CommitUnheard` tells of.
    """


class CommitUnheard(StoreUnavailable):
    """The answer to a COMMIT was lost: it happened or it did not, and only reading tells."""


class BrainUnavailable(Retryable):
    """SomaBrain timed out, refused the connection, asked to wait, answered 5xx or something that is not SomaBrain."""


class BrainForbidden(BrainUnavailable):
    """SomaBrain refused our credentials: everything waits until a person corrects them."""


class BrainCannotForget(BrainUnavailable):
    """SomaBrain is there and cannot delete (a version without it, or one that breaks over it): forget this memory
    later; it is no outage, and nothing else has to wait.
    """


class WalUnavailable(Retryable):
    """Kafka did not acknowledge, or could not be read."""


class ModelUnavailable(Retryable):
    """The model endpoint was away, too slow, broke off or answered garbage; the text is fit for people."""


class PolicyUnavailable(Retryable):
    """No decision could be had: whoever decides is away, too slow or answered something else. That is no yes."""


class ReceiverUnavailable(Retryable):
    """A webhook's receiver gave no answer in time, or is where nothing may be sent; the text is fit for people."""


class SlowReader(Retryable):
    """A stream's reader fell too far behind; it is told to resume from its cursor."""


class TooManyStreams(Retryable):
    """This process serves as many open streams as it may."""


class Rejected(Exception):
    """The data itself is wrong and will be wrong again: dead letter, HTTP 4xx. The text says what to do."""


class NotFound(Rejected):
    """There is no such thing for this caller; forbidden and unknown look the same."""


class Conflict(Rejected):
    """The same request is still being answered, or the state does not allow this one."""


class KeyReused(Rejected):
    """An Idempotency-Key came again with another body."""


class BrainCannotList(Rejected):
    """This SomaBrain does not say what it holds, and so cannot be compared with anything."""


class MemoryRefused(Rejected):
    """SomaBrain says that this memory is wrong; offering it again cannot help."""


class BatchRefused(Rejected):
    """SomaBrain does not take these memories in one call; each has to be offered alone to see which one is wrong."""


class ModelRefused(Rejected):
    """The model endpoint will not take this request (key, model name, content); the text is fit for people."""


class BudgetSpent(Rejected):
    """A token budget does not suffice for a call; the text, fit for people, says when it will. `budget` tells how the
    one in this `dimension` stands, as clients read it.
    """

    def __init__(self, message: str, dimension: str, budget: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.dimension = dimension
        self.budget = budget


class PolicyDenied(Rejected):
    """The policy says no; the text, fit for people, says to what."""


class PoisonRecord(Rejected):
    """A WAL record that can never be replicated; `kind` groups the causes, `where` leads to the field at fault."""

    def __init__(self, kind: str, message: str, *where: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.where = where


class ProcessDied(Exception):
    """The process that a piece of work had for itself ended in the middle of it; the text says how."""


class LeaseLost(Exception):
    """Somebody else owns this row now; what was being brought is dropped."""

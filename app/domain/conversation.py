"""What is said to the agent and what the system owes for it: messages, receipts, turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.analysis import analyse
from app.domain.terms import USUAL, Terms
from app.domain.turn_request import ORDINARY, TurnRequest

Scalar = str | int | float | bool | None
_LONGEST_TITLE = 80


@dataclass(frozen=True, slots=True)
class UserMessage:
    """One accepted message. `tenant_named` tells whether the caller chose the tenant or it is a default."""

    event_id: str
    session_id: str
    text: str
    tenant: str
    tenant_named: bool = False
    persona_id: str | None = None
    subject: str = "anonymous"
    attachments: tuple[str, ...] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    traceparent: str | None = None
    request: TurnRequest = ORDINARY
    terms: Terms = USUAL

    @property
    def title(self) -> str:
        """What a session that begins with it is called until somebody knows better."""
        line = " ".join(self.text.split())
        return line if len(line) <= _LONGEST_TITLE else f"{line[: _LONGEST_TITLE - 1]}…"

    @property
    def analysis(self) -> Mapping[str, Any]:
        """What it is about, as the session's row keeps it."""
        return analyse(self.text).as_json()


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A caller's `Idempotency-Key` with its scope, and the digest of the body it came with."""

    key: str
    tenant: str
    route: str
    principal: str
    body_digest: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The promise given to the caller: this message is kept. `replayed` marks the answer to a repeated key."""

    session_id: str
    event_id: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed turn: the message it answers and the lease under which this attempt runs.

    `deaths` is how many workers died with it before, `steps` how often it has waited for the tools it asked for,
    `undecided` how often for the policy's decision, `subject` who sent the message and so pays for the answer.
    """

    event_id: str
    session_id: str
    seq: int
    tenant: str
    persona_id: str | None
    metadata: Mapping[str, Scalar]
    attempts: int
    lease_owner: str
    failures: int = 0
    deaths: int = 0
    traceparent: str | None = None
    request: TurnRequest = ORDINARY
    deliver_before: datetime | None = None
    subject: str = "anonymous"
    steps: int = 0
    undecided: int = 0

    @property
    def claims(self) -> int:
        """The claims that should have ended it: a wait is not held against it."""
        return self.attempts - self.steps - self.undecided

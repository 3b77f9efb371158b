"""What is said to the agent and what the system owes for it: messages, receipts, turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None


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

    `deaths` is how many workers died with it before.
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


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of a conversation as a model reads it; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model's endpoint reported them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer and where it came from (`source` is the model's name)."""

    text: str
    source: str
    usage: Usage = Usage()


def fit_window(lines: list[Utterance], context_tokens: int, output_tokens: int) -> list[Utterance]:
    """The newest lines that leave room for the answer; the first (system) and the last (the question) always stay.

    Tokens are estimated at three bytes each, which over-counts English a little and never under-counts much.
    """
    room = max(context_tokens - output_tokens, context_tokens // 4) * 3
    system, *history, question = lines
    room -= len(system.content.encode()) + len(question.content.encode())
    kept: list[Utterance] = []
    for line in reversed(history):
        room -= len(line.content.encode()) + 12
        if room < 0:
            break
        kept.append(line)
    return [system, *reversed(kept), question]

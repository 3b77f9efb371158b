"""What was ever accepted as a memory, and how it stands: the ledger's part of the truth. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.domain.conversation import RequestKey
from app.domain.memory import Memory


class Standing(StrEnum):
    """How a memory that somebody offers stands."""

    NEW = "new"
    WAITING = "waiting"
    REMEMBERED = "remembered"
    DEAD = "dead"
    FORGOTTEN = "forgotten"
    OTHER_CONTENT = "other content"
    TAKEN = "taken"


_REASONS = {
    Standing.DEAD: "this memory could not be remembered",
    Standing.FORGOTTEN: "a memory with this id was forgotten; send it under a new id",
    Standing.OTHER_CONTENT: "there is a memory with this id and other content; send it under a new id",
    Standing.TAKEN: "this id cannot be used; send the memory under a new id",
}


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of one memory that was offered; `reason` is for people, and empty where it was taken."""

    event_id: str
    standing: Standing
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of each memory, in the order of the offer; `replayed` where the request's key was answered before."""

    memories: list[Acceptance]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an id: whose it is, what it said, and the state of its owed row (None once that is pruned)."""

    tenant: str
    digest: bytes | None
    forgotten: bool
    state: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger, as recall needs it."""

    tenant: str
    role: str
    session_id: str | None
    accepted_at: datetime
    forgotten: bool


@dataclass(frozen=True, slots=True)
class Forgetting:
    """A memory that is to be forgotten; `done` once SomaBrain has forgotten it."""

    memory: Memory
    done: bool


class Ledger(Protocol):
    """Every memory that was ever accepted."""

    def accept(self, memories: Sequence[Memory], key: RequestKey | None = None) -> Accepted:
        """One transaction: those that are new are kept and owed, or nothing is (`StoreUnavailable`)."""

    def forget(self, event_id: str, tenant: str) -> Forgetting | None:
        """One transaction: no longer a memory, SomaBrain owed the forgetting, the log its record. Asked again, it says
        how far that is; None where this tenant has no such memory.
        """

    def entries(self, event_ids: Sequence[str]) -> dict[str, Entry]:
        """The lines of those that were ever accepted."""


def judge(memory: Memory, digest: bytes, known: Known | None) -> Acceptance:
    """How an offered memory stands beside what is known of its id; None is an id that nobody has ever used."""
    standing = Standing.NEW if known is None else _standing(memory, digest, known)
    reason = _REASONS.get(standing, "")
    if standing is Standing.DEAD and known is not None and known.last_error:
        reason = f"{reason}: {known.last_error}"
    return Acceptance(memory.event_id, standing, reason)


def _standing(memory: Memory, digest: bytes, known: Known) -> Standing:
    if known.tenant != memory.place.tenant:
        return Standing.TAKEN
    if known.forgotten:
        return Standing.FORGOTTEN
    if known.digest is not None and known.digest != digest:
        return Standing.OTHER_CONTENT
    return _BY_STATE.get(known.state or "", Standing.REMEMBERED)


_BY_STATE = {"pending": Standing.WAITING, "dead": Standing.DEAD, "discarded": Standing.DEAD}

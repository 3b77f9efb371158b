"""Is anything missing? What was accepted, what each store holds of it, what is wrong: the words of a proof. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.memory import Place


class Store(StrEnum):
    """Where a memory has to be."""

    BRAIN = "brain"
    WAL = "wal"
    REPLICA = "replica"


class Kind(StrEnum):
    """What is wrong."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERING = "differing"


@dataclass(frozen=True, slots=True)
class Pledge:
    """One line of the ledger: what was accepted, and whether it is to be forgotten."""

    event_id: str
    place: Place
    session_id: str
    role: str
    idempotency_key: str
    digest: bytes | None
    version: int = 1
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """What one store holds under `event_id`. None is what a store does not speak of, which is not compared.

    `locator` is how the store finds it again; `named` the id that its payload gives itself; `contradicted` tells that
    the log has another record of the same version that says something else.
    """

    store: Store
    event_id: str
    place: Place
    digest: bytes | None = None
    version: int | None = None
    deleted: bool = False
    session_id: str | None = None
    role: str | None = None
    idempotency_key: str | None = None
    universe_inside: str | None = None
    named: str | None = None
    contradicted: bool = False
    locator: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where. `at` is where the store has it, or should have it.

    `fault` is false for what is nobody's fault here: what other programs have put into a store. `digest` is what the
    memory has to say; None where nobody knows. `copy_of` is the memory that an extra one repeats.
    """

    event_id: str
    store: Store
    kind: Kind
    words: str
    at: Place
    tenant: str
    version: int
    digest: bytes | None = None
    fault: bool = True
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One accepted memory with everything that the stores hold under its id.

    `moving` are the stores to which something of it is on its way, `given_up` those for which a person has put it away
    for good; neither are judged.
    """

    pledge: Pledge
    copies: tuple[Copy, ...]
    moving: frozenset[Store] = frozenset()
    given_up: frozenset[Store] = frozenset()

"""What a proof needs from the world, as roles, and what is handed over."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.domain.leases import Lease
from app.domain.log import RawRecord
from app.domain.memory import Memory, Place, WalRecord
from app.domain.proof import Case, Copy, Finding, Pledge


@dataclass(frozen=True, slots=True)
class ProofWish:
    """What is to be proven: everything or one tenant's memories; with `repair` what is missing is offered again."""

    tenant: str | None
    repair: bool


@dataclass(frozen=True, slots=True)
class ProofJob:
    """A claimed proof and how far it is: the `stage`, the `place` in it (JSON), and `notes` for people."""

    job_id: str
    wish: ProofWish
    lease: Lease
    stage: str
    place: Mapping[str, Any]
    began_at: datetime | None = None
    notes: tuple[str, ...] = ()
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """What one step has brought; it is kept in the transaction that moves the job on."""

    copies: Sequence[Copy] = ()
    findings: Sequence[Finding] = ()
    checked: Mapping[str, int] = field(default_factory=dict)
    in_flight: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrainItem:
    """One memory as SomaBrain lists it."""

    place: Place
    key: str
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BrainPage:
    """One page of a tenant's memories; `cursor` leads to the next one, None after the last."""

    items: tuple[BrainItem, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ReplicaPage:
    """Rows of the replica as copies, and the id of the last one; None after the last page."""

    copies: tuple[Copy, ...]
    last: int | None


@dataclass(frozen=True, slots=True)
class StrangerPage:
    """What stands under ids that were never accepted, each with the accepted memory that it names, among a page of what
    was laid down; `last` is the page's end (id, store, spot), None behind everything.
    """

    strangers: tuple[tuple[Copy, Pledge | None], ...]
    last: tuple[str, str, str] | None


class BrainListing(Protocol):
    """SomaBrain, as a proof sees it."""

    def page(self, tenant: str, after: str, limit: int) -> BrainPage:
        """`BrainCannotList` where it does not say what it holds; `BrainUnavailable` or `BrainForbidden`."""

    def forget(self, event_id: str, place: Place, request_id: str) -> None:
        """Delete what lies under this id in this place."""


class WalScan(Protocol):
    """The log from its beginning."""

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Partition → (first offset, the one behind the last); `WalUnavailable`."""

    def records(self, number: int, start: int, end: int) -> Iterator[list[RawRecord]]:
        """Batches of a partition's records from `start` to before `end`; `WalUnavailable`."""


class ProofDesk(Protocol):
    """The proofs that were asked for, and what is laid down for them."""

    def claim(self, job_id: str) -> ProofJob | None:
        """This one, if it is due and nobody has it in hand."""

    def working_on(self, job_id: str, /) -> AbstractContextManager[None]:
        """While the block runs, the lease of this proof is renewed."""

    def release(self, job: ProofJob) -> None:
        """Give it back; it is due now."""

    def postpone(self, job: ProofJob, seconds: float, reason: str) -> None:
        """Give it back because a peer is away."""

    def finish(self, job: ProofJob) -> None:
        """It is done: nothing that was laid down is needed any more."""

    def survived(self, job: ProofJob) -> None:
        """This claim was lost, or could not be ended, and its worker lives. Never raises."""

    def begin(self, job: ProofJob) -> ProofJob:
        """Forget everything found so far; `began_at` is now, `place` says how far the replica is in each partition."""

    def is_intact(self, job: ProofJob) -> bool:
        """Whether what was laid down since `begin` is still there."""

    def keep(self, job: ProofJob, gain: Gain) -> None:
        """One transaction: the job's stage and place, and what a step has brought; `LeaseLost`."""

    def settle(self, job: ProofJob, damage: "Damage", words: str) -> None:
        """Note what became of these findings, and make the memory due now where it was held."""


class ProofBooks(Protocol):
    """Ledger, replica and what was laid down, in one order."""

    def counts(self, tenant: str | None) -> tuple[int, int]:
        """Lines of the ledger, and the highest id in the replica."""

    def replica_page(self, after: int, limit: int) -> ReplicaPage:
        """The replica's rows after this id."""

    def next_tenant(self, after: str) -> str | None:
        """The first tenant behind this one that has a memory anywhere."""

    def cases(self, job: ProofJob, after: tuple[str, str], limit: int) -> list[Case]:
        """Accepted memories after (tenant, event id), each with what was laid down under its id."""

    def strangers(self, job: ProofJob, after: tuple[str, str, str], limit: int) -> StrangerPage:
        """What was laid down after (id, store, spot); however few strangers there are, a page is a page."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Everything that was found under one id and waits for repair."""

    event_id: str
    findings: tuple[Finding, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a memory stands now: its ledger line, as a memory without payload, and the highest version anywhere."""

    memory: Memory
    digest: bytes | None
    forgotten: bool
    version: int


class ProofRepair(Protocol):
    """What repairs by owing again."""

    def next_damage(self, job_id: str) -> Damage | None:
        """The first id with faults that nobody has repaired."""

    def payloads(self, event_id: str) -> Iterator[Mapping[str, Any]]:
        """What Postgres holds of this memory's payload: the owed row's, the replica's."""

    def locators(self, event_id: str) -> list[tuple[str, str]]:
        """(store, locator) of what was laid down under this id."""

    def standing(self, event_id: str) -> Standing | None:
        """None where it was never accepted."""

    def owe(self, standing: Standing, payload: Mapping[str, Any], delay_seconds: float) -> bool:
        """One transaction: the next version of this memory is owed to SomaBrain, due after the delay. False where it
        has moved on meanwhile.
        """

    def owe_forgetting(self, standing: Standing) -> bool:
        """One transaction: the forgetting is owed once more, to SomaBrain and to the log, as the next version."""

    def owe_record(self, record: WalRecord) -> None:
        """Owe one record to the log."""

    def hold(self, event_id: str, seconds: float) -> bool:
        """Whether this memory waits to be remembered, and so long from now, for certain in nobody's hands."""


@dataclass(frozen=True, slots=True)
class TenantProof:
    """What was found of one tenant."""

    checked: int
    in_flight: int
    counts: Mapping[tuple[str, str], int]
    faults: int
    repaired: int
    examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ProofReport:
    """A proof as people see it."""

    job_id: str
    status: str
    stage: str
    done: int
    total: int | None
    notes: tuple[str, ...]
    error: str | None
    tenants: Mapping[str, TenantProof]


class Proofs(Protocol):
    """The proofs, as whoever asks for them sees them."""

    def ask(self, wish: ProofWish) -> str:
        """A new job's id, or that of the one that is under way for the same wish; `Conflict` for another one."""

    def report(self, job_id: str) -> ProofReport | None:
        """None where there is no such job."""

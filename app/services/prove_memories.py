"""Is anything missing? Lay down what each store holds, compare it with the ledger, in slices of some seconds.

Whatever a step brings is kept in the transaction that moves the job on, so that a kill repeats one step at most.
Nothing grows with the number of memories: pages go through, and what is laid down lies in Postgres.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from app.domain.backoff import Backoff
from app.domain.errors import BrainCannotList, BrainUnavailable, LeaseLost, WalUnavailable
from app.domain.judging import judge, judge_stranger, newest
from app.domain.ports import Clock, Doorbell
from app.domain.proof import Store
from app.domain.proof_copies import brain_copy, wal_copies
from app.domain.proof_ports import BrainListing, Gain, ProofBooks, ProofDesk, ProofJob, WalScan
from app.routing import TaskName
from app.services.survive import surviving

BEGINNING: Final = "beginning"
DONE: Final = "done"
_PAGE = 500
_BRAIN_PAGE = 500
_STRANGER_PAGE = 2_000
_NOT_WALKED = "SomaBrain was not compared: this version does not list what it holds"


@dataclass(frozen=True, slots=True)
class Proving:
    """What proving needs. `repair` repairs one thing that was found, false when there is nothing left."""

    desk: ProofDesk
    books: ProofBooks
    wal: WalScan
    brain: BrainListing
    repair: Callable[[ProofJob], bool]
    clock: Clock
    doorbell: Doorbell
    slice_seconds: float = 3.0
    backoff: Backoff = field(default_factory=Backoff)
    stopping: Callable[[], bool] = lambda: False


def prove_slice(proving: Proving, job_id: str) -> bool:
    """Work on this proof for one slice if nobody else does; whether it did. An outage only moves its due time."""
    with proving.desk.working_on(job_id):
        job = proving.desk.claim(job_id)
        if job is None:
            return False
        with suppress(LeaseLost), surviving(lambda: proving.desk.survived(job)):
            _work_on(proving, job)
    return True


def _work_on(proving: Proving, job: ProofJob) -> None:
    try:
        reached = _advance(proving, job)
    except (BrainUnavailable, WalUnavailable) as error:
        proving.desk.postpone(job, proving.backoff.pause(job.lease.failures, 0.5), str(error))
        return
    if reached.stage == DONE:
        proving.desk.finish(reached)
    else:
        proving.desk.release(reached)
        proving.doorbell.ring(TaskName.RECONCILE, job.job_id)


def _advance(proving: Proving, job: ProofJob) -> ProofJob:
    until = proving.clock.monotonic() + proving.slice_seconds
    if job.stage != BEGINNING and not proving.desk.is_intact(job):
        job = replace(job, stage=BEGINNING)
    while job.stage != DONE and proving.clock.monotonic() < until and not proving.stopping():
        job = _STAGES[job.stage](proving, job, until)
    return job


def _begin(proving: Proving, job: ProofJob, _until: float) -> ProofJob:
    begun = proving.desk.begin(job)
    bounds = proving.wal.bounds()
    place = {**begun.place, "at": {str(number): start for number, (start, _) in bounds.items()}}
    place["ends"] = {str(number): end for number, (_, end) in bounds.items()}
    total = sum(end - start for start, end in bounds.values())
    return _moved(proving, replace(begun, stage="log", place=place, done=0, total=total))


def _read_log(proving: Proving, job: ProofJob, until: float) -> ProofJob:
    """One partition after another; a connection serves for as long as the slice."""
    at, ends = job.place["at"], job.place["ends"]
    number = next((number for number in sorted(ends, key=int) if at[number] < ends[number]), None)
    if number is None:
        _, highest = proving.books.counts(job.wish.tenant)
        return _moved(proving, replace(job, stage="replica", place={**job.place, "row": 0}, done=0, total=highest))
    for records in proving.wal.records(int(number), at[number], ends[number]):
        copies, unreadable = wal_copies(records, proving.clock.now().timestamp())
        job = _in_log(job, number, records[-1].offset + 1, unreadable)
        proving.desk.keep(job, Gain(copies=newest(copies)))
        if proving.clock.monotonic() >= until or proving.stopping():
            return job
    return _moved(proving, _in_log(job, number, ends[number], 0))


def _in_log(job: ProofJob, number: str, reached: int, unreadable: int) -> ProofJob:
    at = {**job.place["at"], number: reached}
    done = job.done + reached - job.place["at"][number]
    bad = job.place.get("unreadable", 0) + unreadable
    return replace(job, place={**job.place, "at": at, "unreadable": bad}, done=done)


def _read_replica(proving: Proving, job: ProofJob, _until: float) -> ProofJob:
    page = proving.books.replica_page(job.place["row"], _PAGE)
    if page.last is None:
        lines, _ = proving.books.counts(job.wish.tenant)
        tenant = job.wish.tenant if job.wish.tenant is not None else proving.books.next_tenant("")
        place = {**job.place, "tenant": tenant, "cursor": ""}
        return _moved(proving, replace(job, stage="brain", place=place, done=0, total=lines))
    reached = replace(job, place={**job.place, "row": page.last}, done=page.last)
    return _moved(proving, reached, Gain(copies=page.copies))


def _read_brain(proving: Proving, job: ProofJob, _until: float) -> ProofJob:
    tenant, cursor = job.place["tenant"], job.place["cursor"]
    if tenant is None:
        return _to_comparing(proving, job)
    try:
        page = proving.brain.page(tenant, cursor, _BRAIN_PAGE)
    except BrainCannotList:
        place = {**job.place, "brain": False, "tenant": None}
        return _to_comparing(proving, replace(job, place=place, notes=(*job.notes, _NOT_WALKED)))
    copies = [brain_copy(item, tenant, cursor) for item in page.items]
    following = tenant if page.cursor else _tenant_behind(proving, job, tenant)
    place = {**job.place, "tenant": following, "cursor": page.cursor or ""}
    return _moved(proving, replace(job, place=place, done=job.done + len(copies)), Gain(copies=copies))


def _tenant_behind(proving: Proving, job: ProofJob, tenant: str) -> str | None:
    return None if job.wish.tenant is not None else proving.books.next_tenant(tenant)


def _to_comparing(proving: Proving, job: ProofJob) -> ProofJob:
    lines, _ = proving.books.counts(job.wish.tenant)
    reached = replace(job, stage="comparing", place={**job.place, "line": ["", ""]}, done=0, total=lines)
    if unreadable := job.place.get("unreadable"):
        words = f"records of the log that could not be read and are dead letters: {unreadable}"
        reached = replace(reached, notes=(*job.notes, words))
    return _moved(proving, reached)


def _compare(proving: Proving, job: ProofJob, _until: float) -> ProofJob:
    cases = proving.books.cases(job, _pair(job.place["line"]), _PAGE)
    if not cases:
        place = {**job.place, "stranger": ["", "", ""]}
        return _moved(proving, replace(job, stage="strangers", place=place, done=0, total=None))
    walked = frozenset(Store) if job.place.get("brain", True) else frozenset({Store.WAL, Store.REPLICA})
    last = cases[-1].pledge
    gain = Gain(
        findings=[finding for case in cases for finding in judge(case, walked)],
        checked=Counter(case.pledge.place.tenant for case in cases),
        in_flight=Counter(case.pledge.place.tenant for case in cases if case.moving),
    )
    place = {**job.place, "line": [last.place.tenant, last.event_id]}
    return _moved(proving, replace(job, place=place, done=job.done + len(cases)), gain)


def _compare_strangers(proving: Proving, job: ProofJob, _until: float) -> ProofJob:
    event_id, store, spot = job.place["stranger"]
    page = proving.books.strangers(job, (event_id, store, spot), _STRANGER_PAGE)
    if page.last is None:
        stage = "repairing" if job.wish.repair else DONE
        return _moved(proving, replace(job, stage=stage, done=0, total=None))
    findings = [finding for copy, original in page.strangers if (finding := judge_stranger(copy, original))]
    place = {**job.place, "stranger": list(page.last)}
    return _moved(proving, replace(job, place=place, done=job.done + len(page.strangers)), Gain(findings=findings))


def _repair(proving: Proving, job: ProofJob, _until: float) -> ProofJob:
    if not proving.repair(job):
        return _moved(proving, replace(job, stage=DONE))
    return _moved(proving, replace(job, done=job.done + 1))


def _moved(proving: Proving, job: ProofJob, gain: Gain | None = None) -> ProofJob:
    proving.desk.keep(job, gain or Gain())
    return job


def _pair(line: Any) -> tuple[str, str]:
    return (line[0], line[1])


_STAGES: Mapping[str, Callable[[Proving, ProofJob, float], ProofJob]] = {
    BEGINNING: _begin,
    "log": _read_log,
    "replica": _read_replica,
    "brain": _read_brain,
    "comparing": _compare,
    "strangers": _compare_strangers,
    "repairing": _repair,
}

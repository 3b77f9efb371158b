"""Repair what a proof has found, one memory after another, and never from the store that has it wrong.

What a memory has to say comes from any store where it has the ledger's digest. First it is owed again, so that it lies
safe in Postgres; only then what is wrong goes out of SomaBrain, which would take the repetition for one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.errors import BrainCannotForget, MemoryRefused, PoisonRecord
from app.domain.judging import same_in_brain
from app.domain.memory import Memory, digest_of, wal_delete
from app.domain.ports import Clock
from app.domain.proof import Finding, Kind, Store
from app.domain.proof_ports import BrainListing, Damage, ProofDesk, ProofJob, ProofRepair, Standing, WalScan
from app.domain.wal import parse

_HOLD_SECONDS = 20.0
_BRAIN_PAGE = 500
OWED_AGAIN = "owed again"
FORGETTING_OWED = "the forgetting is owed again"
TAKEN_AWAY = "taken away"
BEYOND_REPAIR = "cannot be repaired: no store holds what was accepted"
MOVED_ON = "it has moved on meanwhile; prove again"


@dataclass(frozen=True, slots=True)
class Repairing:
    """What repairing needs."""

    desk: ProofDesk
    repair: ProofRepair
    wal: WalScan
    brain: BrainListing
    clock: Clock
    wal_topic: str


def repair_next(repairing: Repairing, job: ProofJob) -> bool:
    """Repair the next damaged memory; false when there is none. Broken off anywhere, it is repeated harmlessly."""
    damage = repairing.repair.next_damage(job.job_id)
    if damage is None:
        return False
    try:
        words = _repair(repairing, damage)
    except (BrainCannotForget, MemoryRefused) as error:
        words = f"cannot be repaired: {error}"
    repairing.desk.settle(job, damage, words)
    return True


def _repair(repairing: Repairing, damage: Damage) -> str:
    standing = repairing.repair.standing(damage.event_id)
    if standing is None:
        return _take_away_copy(repairing, damage)
    if standing.forgotten:
        return _forget_again(repairing, damage, standing)
    return _remember_again(repairing, damage, standing)


def _take_away_copy(repairing: Repairing, damage: Damage) -> str:
    """A copy under an id that was never accepted: its original stands in the ledger, so nothing is lost with it."""
    for finding in damage.findings:
        if finding.store is Store.BRAIN:
            _forget(repairing, finding)
    in_log = [finding for finding in damage.findings if finding.store is not Store.BRAIN]
    if in_log:
        version = max(finding.version for finding in in_log) + 1
        gone = Memory(damage.event_id, in_log[0].at, None, None, "", {}, "", version=version)
        repairing.repair.owe_record(wal_delete(gone, repairing.wal_topic, _now(repairing)))
    return TAKEN_AWAY


def _forget_again(repairing: Repairing, damage: Damage, standing: Standing) -> str:
    for finding in damage.findings:
        if finding.store is Store.BRAIN and not same_in_brain(finding.at, standing.memory.place):
            _forget(repairing, finding)
    if _is_as_it_was_found(damage, standing) and not repairing.repair.owe_forgetting(standing):
        return MOVED_ON
    return FORGETTING_OWED


def _remember_again(repairing: Repairing, damage: Damage, standing: Standing) -> str:
    words = TAKEN_AWAY
    if any(finding.kind is not Kind.EXTRA for finding in damage.findings):
        words = _owe_again(repairing, damage, standing)
        if words != OWED_AGAIN:
            return words
    for finding in damage.findings:
        if finding.store is Store.BRAIN and finding.kind is not Kind.MISSING:
            _clear_way(repairing, finding, standing)
    return words


def _owe_again(repairing: Repairing, damage: Damage, standing: Standing) -> str:
    if not _is_as_it_was_found(damage, standing):
        # Owed by this very repair before it broke off, or decided about by somebody else.
        return OWED_AGAIN
    digest = standing.digest or damage.findings[0].digest
    payload = _payload(repairing, damage.event_id, digest)
    if payload is None:
        return BEYOND_REPAIR
    return OWED_AGAIN if repairing.repair.owe(standing, payload, _HOLD_SECONDS) else MOVED_ON


def _clear_way(repairing: Repairing, finding: Finding, standing: Standing) -> None:
    """Take what is wrong out of SomaBrain; where the memory itself belongs, only while it is not being written."""
    at_home = same_in_brain(finding.at, standing.memory.place)
    if not at_home or repairing.repair.hold(finding.event_id, _HOLD_SECONDS):
        _forget(repairing, finding)


def _forget(repairing: Repairing, finding: Finding) -> None:
    repairing.brain.forget(finding.event_id, finding.at, f"{finding.event_id}:repair")


def _is_as_it_was_found(damage: Damage, standing: Standing) -> bool:
    return damage.findings[0].version == standing.memory.version


def _payload(repairing: Repairing, event_id: str, digest: bytes | None) -> Mapping[str, Any] | None:
    """What the memory says, from whichever store says it rightly."""
    if digest is None:
        return None
    return next((payload for payload in _payloads(repairing, event_id) if digest_of(payload) == digest), None)


def _payloads(repairing: Repairing, event_id: str) -> Iterator[Mapping[str, Any]]:
    yield from repairing.repair.payloads(event_id)
    for store, locator in repairing.repair.locators(event_id):
        yield from (_in_log(repairing, locator) if store == Store.WAL else _in_brain(repairing, event_id, locator))


def _in_log(repairing: Repairing, locator: str) -> Iterator[Mapping[str, Any]]:
    number, offset = (int(part) for part in locator.split(":"))
    for records in repairing.wal.records(number, offset, offset + 1):
        for record in records:
            try:
                yield parse(record.value, record.offset, _now(repairing).timestamp()).payload
            except PoisonRecord:
                continue


def _in_brain(repairing: Repairing, event_id: str, locator: str) -> Iterator[Mapping[str, Any]]:
    tenant, cursor = locator.split("\n", 1)
    for item in repairing.brain.page(tenant, cursor, _BRAIN_PAGE).items:
        if item.key == event_id:
            # SomaBrain was told the universe beside what the memory says.
            yield {name: part for name, part in item.value.items() if name != "universe"}


def _now(repairing: Repairing) -> datetime:
    return repairing.clock.now()

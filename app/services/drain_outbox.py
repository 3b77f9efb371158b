"""Step 6 of the line: hand every due record to Kafka and believe only what Kafka acknowledged."""

from dataclasses import dataclass, field

from app.domain.backoff import Backoff
from app.domain.errors import Retryable
from app.domain.ports import Doorbell, HealthNotes, MessageOutbox, OwedRecord, Sent, WalWriter
from app.routing import TaskName
from app.services.survive import surviving


@dataclass(frozen=True, slots=True)
class RecordPlane:
    """What draining needs."""

    outbox: MessageOutbox
    wal: WalWriter
    doorbell: Doorbell
    notes: HealthNotes
    batch: int = 200
    backoff: Backoff = field(default_factory=lambda: Backoff(base=1.0, cap=5.0))


@dataclass(frozen=True, slots=True)
class Drained:
    """What one round did, in records."""

    ok: int = 0
    retry: int = 0
    dead: int = 0


def drain_due_records(plane: RecordPlane) -> Drained:
    """Publish due records once; what failed is due again soon, what cannot be sent is buried with the reason."""
    owed = plane.outbox.claim_due(plane.batch)
    if not owed:
        return Drained()
    with surviving(lambda: plane.outbox.survived(owed)):
        return _deliver(owed, plane)


def _deliver(owed: list[OwedRecord], plane: RecordPlane) -> Drained:
    outcomes = list(zip(owed, plane.wal.publish([item.record for item in owed]), strict=True))
    sent = [(item, outcome) for item, outcome in outcomes if isinstance(outcome, Sent)]
    if sent:
        plane.outbox.sent(sent)
        plane.doorbell.ring(TaskName.REPLICATE_WAL)
    waiting, dead = _give_back(outcomes, plane)
    if len(owed) == plane.batch and not waiting:
        plane.doorbell.ring(TaskName.DRAIN_OUTBOX)
    return Drained(len(sent), waiting, dead)


def _give_back(outcomes: list[tuple[OwedRecord, Sent | Exception]], plane: RecordPlane) -> tuple[int, int]:
    failed = [(item, outcome) for item, outcome in outcomes if isinstance(outcome, Exception)]
    waiting = [(item, error) for item, error in failed if isinstance(error, Retryable)]
    for item, error in failed:
        if not isinstance(error, Retryable):
            plane.outbox.bury(item, str(error))
    if waiting:
        first, error = waiting[0]
        pause = plane.backoff.pause(first.lease.failures, 0.5)
        plane.outbox.postpone([item for item, _ in waiting], pause, str(error), outage=True)
        plane.notes.note("kafka", "down", "Kafka does not acknowledge; records wait and nothing is lost")
    return len(waiting), len(failed) - len(waiting)

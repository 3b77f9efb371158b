"""What a person may do to a row depends on how it stands, and every deed is noted and rung for."""

from dataclasses import dataclass, field

import pytest

from app.domain.audit import Actor, AuditEntry
from app.domain.desk import WorkName
from app.domain.errors import Conflict, NotFound
from app.domain.leases import MAX_ATTEMPTS
from app.routing import TaskName
from app.services.tend_work import Tending, discard_work, retry_work
from tests.builders import a_message, a_record
from tests.fakes import InMemoryStore, InMemoryWorkDesk, RecordingDoorbell, Ring

ACTOR = Actor("anonymous", "r-1")


@dataclass
class Scene:
    store: InMemoryStore = field(default_factory=InMemoryStore)
    bell: RecordingDoorbell = field(default_factory=RecordingDoorbell)

    def __post_init__(self) -> None:
        self.desk = InMemoryWorkDesk(self.store)
        self.tending = Tending(self.desk, self.bell)

    def message(self) -> str:
        said = a_message()
        self.store.inbox().accept(said, None)
        return said.event_id

    def kill_turn(self, event_id: str) -> None:
        for number in range(MAX_ATTEMPTS + 1):
            self.store.turns(self.store.presence(f"p-{number}"), 1).claim(event_id)
            self.store.clock.advance(2)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_waiting_turn_is_tried_now(scene: Scene) -> None:
    event_id = scene.message()
    turns = scene.store.turns(scene.store.presence("p-1"))
    turn = turns.claim(event_id)
    assert turn is not None
    turns.postpone(turn, 3600, "the model is away")

    assert retry_work("turn", event_id, scene.tending, ACTOR).state == "owed"

    assert turns.claim(event_id) is not None
    assert scene.bell.rings == [Ring(TaskName.RESPOND, (event_id,))]
    (entry,) = scene.desk.audit
    assert (entry.action, entry.subject) == ("work.retry", f"turn/{event_id}")
    assert entry.detail == {"was": "owed", "reason": "the model is away"}


def test_a_dead_memory_gets_another_life(scene: Scene) -> None:
    event_id = scene.message()
    outbox = scene.store.memory_outbox("p-1")
    (owed,) = outbox.claim_due(1)
    outbox.bury(owed, "SomaBrain refused it")

    assert retry_work("memory", event_id, scene.tending, ACTOR).state == "owed"

    assert len(outbox.claim_due(1)) == 1
    assert scene.bell.tasks == [TaskName.SYNC_MEMORIES]


def test_a_record_rings_its_own_drain(scene: Scene) -> None:
    scene.store.owe_records([a_record()])
    (key,) = scene.store.record_rows.rows

    retry_work("record", key, scene.tending, ACTOR)

    assert scene.bell.tasks == [TaskName.DRAIN_OUTBOX]


def test_a_dead_turn_cannot_be_retried_because_its_session_saw_the_end(scene: Scene) -> None:
    event_id = scene.message()
    scene.kill_turn(event_id)

    with pytest.raises(Conflict, match="sent again"):
        retry_work("turn", event_id, scene.tending, ACTOR)

    assert not scene.bell.rings
    assert not scene.desk.audit


def test_what_a_worker_has_in_hand_is_left_alone(scene: Scene) -> None:
    event_id = scene.message()
    scene.store.memory_outbox("p-1").claim_due(1)

    with pytest.raises(Conflict, match="in hand"):
        retry_work("memory", event_id, scene.tending, ACTOR)


def test_what_is_finished_is_neither_retried_nor_discarded(scene: Scene) -> None:
    event_id = scene.message()
    outbox = scene.store.memory_outbox("p-1")
    scene.store.memory_rows.settle([owed.lease for owed in outbox.claim_due(1)], "synced")

    with pytest.raises(Conflict, match="is synced"):
        retry_work("memory", event_id, scene.tending, ACTOR)
    with pytest.raises(Conflict, match="is synced"):
        discard_work("memory", event_id, scene.tending, ACTOR)


def test_only_what_is_dead_is_discarded(scene: Scene) -> None:
    event_id = scene.message()
    with pytest.raises(Conflict, match="only what is dead"):
        discard_work("turn", event_id, scene.tending, ACTOR)
    scene.kill_turn(event_id)

    assert discard_work("turn", event_id, scene.tending, ACTOR).state == "discarded"

    (entry,) = scene.desk.audit
    assert (entry.action, entry.subject, entry.actor) == ("work.discard", f"turn/{event_id}", ACTOR)
    with pytest.raises(Conflict, match="is discarded"):
        discard_work("turn", event_id, scene.tending, ACTOR)


@pytest.mark.parametrize(
    ("kind", "words"), [("letter", "no such kind"), ("export", "no such export"), ("memory", "no such memory")]
)
def test_what_is_unknown_is_not_found(scene: Scene, kind: str, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        retry_work(kind, "nothing", scene.tending, ACTOR)
    with pytest.raises(NotFound, match=words):
        discard_work(kind, "nothing", scene.tending, ACTOR)


class SomebodyElseIsFaster(InMemoryWorkDesk):
    """A desk at which another person does the same a moment earlier."""

    def discard(self, kind: WorkName, key: str, entry: AuditEntry) -> bool:
        super().discard(kind, key, entry)
        return super().discard(kind, key, entry)


def test_a_row_that_changed_meanwhile_is_to_be_looked_at_again(scene: Scene) -> None:
    event_id = scene.message()
    scene.kill_turn(event_id)

    with pytest.raises(Conflict, match="somebody else"):
        discard_work("turn", event_id, Tending(SomebodyElseIsFaster(scene.store), scene.bell), ACTOR)

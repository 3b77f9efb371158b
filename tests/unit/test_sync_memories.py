"""Memories reach SomaBrain once each, for as long as its outage lasts, and then owe their record."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.domain.conversation import UserMessage
from app.domain.memory import Memory, Remembered
from app.domain.ramp import Ramp
from app.routing import TaskName
from app.services.accept_message import Reception, accept_message
from app.services.probe_brain import probe_brain
from app.services.sync_memories import Delivered, MemoryPlane, Pace, sync_due_memories
from tests.builders import a_message
from tests.fakes import InMemoryBrain, InMemoryStore, RecordingBroadcast, RecordingDoorbell, RecordingNotes


@dataclass
class Stage:
    """A store, a brain, and the way between them."""

    brain: InMemoryBrain = field(default_factory=InMemoryBrain)
    batch: int = 100

    def __post_init__(self) -> None:
        self.store = InMemoryStore()
        self.clock = self.store.clock
        self.bell, self.broadcast, self.notes = RecordingDoorbell(), RecordingBroadcast(), RecordingNotes()
        outbox = self.store.memory_outbox("worker")
        pace = Pace(Ramp(first=self.batch, full=self.batch))
        self.plane = MemoryPlane(outbox, self.brain, self.bell, self.broadcast, self.clock, pace)

    def say(self, *texts: str) -> list[str]:
        messages = [a_message(text, "s-1") for text in texts]
        for message in messages:
            accept_message(message, None, Reception(self.store.inbox(), RecordingDoorbell(), self.broadcast))
        return [message.event_id for message in messages]

    def sync(self) -> Delivered:
        return sync_due_memories(self.plane)

    @property
    def owed(self) -> int:
        return len(self.store.memory_rows.owed)


def counted(delivered: Delivered) -> tuple[int, int, int]:
    return delivered.ok, delivered.retry, delivered.dead


def test_a_memory_survives_a_brain_outage() -> None:
    stage = Stage(InMemoryBrain(down=True))
    stage.say("hello")
    for _ in range(20):
        stage.sync()
        stage.clock.advance(minutes=10)
        stage.brain.close_breaker()
    assert stage.owed == 1

    stage.brain.down = False
    stage.sync()

    assert stage.brain.texts == ["hello"]
    assert stage.owed == 0


def test_a_remembered_memory_owes_its_record_and_says_so() -> None:
    stage = Stage()
    (event_id,) = stage.say("hello")

    assert counted(stage.sync()) == (1, 0, 0)

    (row,) = stage.store.record_rows.owed
    assert row.thing.record.payload["event_id"] == event_id
    assert TaskName.DRAIN_OUTBOX in stage.bell.tasks
    assert stage.broadcast.shown["s-1"][-1]["metadata"] == {event_id: "remembered"}


def test_nothing_to_do_is_nothing_done() -> None:
    stage = Stage()

    assert counted(stage.sync()) == (0, 0, 0)
    assert not stage.bell.rings


def test_a_memory_that_the_brain_refuses_is_buried_and_the_others_go_on() -> None:
    stage = Stage()
    _, bad, _ = stage.say("good", "bad", "better")
    remember = stage.brain.remember

    def refuse_the_bad(memory: Memory) -> Remembered:
        stage.brain.refusing = memory.event_id == bad
        return remember(memory)

    stage.brain.remember = refuse_the_bad  # type: ignore[method-assign]

    assert counted(stage.sync()) == (2, 0, 1)

    assert stage.store.memory_rows.rows[bad].state == "dead"
    assert "422" in (stage.store.memory_rows.rows[bad].last_error or "")


def test_what_was_remembered_before_the_outage_is_settled() -> None:
    stage = Stage(InMemoryBrain(takes_batches=False))
    stage.say("one", "two", "three")
    offered: list[str] = []
    remember = stage.brain.remember

    def fail_on_the_second(memory: Memory) -> Remembered:
        offered.append(str(memory.payload["content"]))
        stage.brain.down = len(offered) > 1
        return remember(memory)

    stage.brain.remember = fail_on_the_second  # type: ignore[method-assign]

    assert counted(stage.sync()) == (1, 2, 0)

    assert offered == ["one", "two"], "after the first failure the rest is not even tried"
    assert stage.owed == 2


def test_an_open_breaker_claims_nothing() -> None:
    stage = Stage()
    (event_id,) = stage.say("hello")
    stage.brain.breaker_open = True

    assert counted(stage.sync()) == (0, 0, 0)

    assert stage.store.memory_rows.rows[event_id].attempts == 0


def test_wrong_credentials_kill_no_memory() -> None:
    stage = Stage(InMemoryBrain(forbidden=True))
    stage.say("hello")
    for _ in range(50):
        stage.sync()
        stage.clock.advance(minutes=2)

    stage.brain.forbidden = False

    assert counted(stage.sync()) == (1, 0, 0)


def test_the_brains_wish_to_wait_is_kept_even_when_it_is_back() -> None:
    stage = Stage(InMemoryBrain(down=True, retry_after=40.0))
    stage.say("hello")
    stage.sync()
    stage.brain.down = False

    assert probe_brain(stage.plane, stage.notes) == 0
    stage.clock.advance(39)
    assert counted(stage.sync()) == (0, 0, 0)
    stage.clock.advance(2)

    assert counted(stage.sync()) == (1, 0, 0)


def test_health_says_which_setting_to_look_at_while_somabrain_refuses_our_credentials() -> None:
    stage = Stage(InMemoryBrain(forbidden=True))
    stage.say("hello")
    stage.sync()

    probe_brain(stage.plane, stage.notes)

    component, status, detail = stage.notes.notes[-1]
    assert (component, status) == ("somabrain", "degraded")
    assert "SOMA_API_KEY" in detail
    stage.brain.forbidden = False
    assert counted(stage.sync()) == (1, 0, 0)
    probe_brain(stage.plane, stage.notes)
    assert stage.notes.last["somabrain"] == "ok"


def test_the_first_yes_of_the_brain_wakes_the_whole_backlog() -> None:
    stage = Stage(InMemoryBrain(down=True))
    stage.say("one", "two", "three")
    stage.sync()
    assert probe_brain(stage.plane, stage.notes) == 0
    assert stage.notes.last["somabrain"] == "down"
    stage.brain.down = False

    assert probe_brain(stage.plane, stage.notes) == 3

    assert TaskName.SYNC_MEMORIES in stage.bell.tasks
    assert counted(stage.sync()) == (3, 0, 0)
    assert probe_brain(stage.plane, stage.notes) == 0
    assert stage.notes.last["somabrain"] == "ok"


def test_a_full_batch_rings_for_more() -> None:
    stage = Stage(batch=2)
    stage.say("one", "two", "three")

    stage.sync()

    assert TaskName.SYNC_MEMORIES in stage.bell.tasks


def test_one_call_ends_well_before_its_lease() -> None:
    stage = Stage(InMemoryBrain(takes_batches=False))
    stage.say("one", "two", "three")
    remember = stage.brain.remember

    def slowly(memory: Memory) -> Remembered:
        stage.clock.advance(6)
        return remember(memory)

    stage.brain.remember = slowly  # type: ignore[method-assign]

    assert counted(stage.sync()) == (2, 0, 0)
    assert counted(stage.sync()) == (1, 0, 0), "what was not tried was given back at once"


def test_a_zombies_success_shows_nothing() -> None:
    stage = Stage()
    stage.say("hello")
    remember = stage.brain.remember

    def overtaken(memory: Memory) -> Remembered:
        stage.clock.advance(31)
        stage.store.memory_outbox("other").claim_due(10)
        return remember(memory)

    stage.brain.remember = overtaken  # type: ignore[method-assign]
    stage.sync()

    assert not stage.store.record_rows.owed
    assert not any(item["type"] == "memory.status" for item in stage.broadcast.shown["s-1"])


def a_message_of(universe: str, text: str) -> UserMessage:
    return a_message(text, f"s-{universe}", metadata={"universe_id": universe})


def test_memories_of_one_place_go_in_one_call_and_places_do_not_mix() -> None:
    stage = Stage()
    for text, universe in (("one", "a"), ("two", "b"), ("three", "a")):
        stage.store.inbox().accept(a_message_of(universe, text), None)
    calls: list[list[str]] = []
    remember_all = stage.brain.remember_all

    def watched(memories: Sequence[Memory]) -> list[Remembered]:
        calls.append([str(memory.payload["content"]) for memory in memories])
        return remember_all(memories)

    stage.brain.remember_all = watched  # type: ignore[method-assign]

    assert counted(stage.sync()) == (3, 0, 0)

    assert calls == [["one", "three"]]
    assert sorted(place.universe for place, _ in stage.brain.kept) == ["a", "a", "b"]


def test_a_call_that_fails_leaves_the_whole_group_waiting_and_keeps_what_went_before() -> None:
    stage = Stage()
    for text, universe in (("one", "a"), ("two", "b"), ("three", "b")):
        stage.store.inbox().accept(a_message_of(universe, text), None)
    remember_all = stage.brain.remember_all

    def away(memories: Sequence[Memory]) -> list[Remembered]:
        stage.brain.down = True
        return remember_all(memories)

    stage.brain.remember_all = away  # type: ignore[method-assign]

    assert counted(stage.sync()) == (1, 2, 0)
    assert stage.owed == 2


def test_an_open_breaker_counts_no_attempt_however_long_it_lasts() -> None:
    stage = Stage(InMemoryBrain(down=True))
    ids = stage.say(*(str(number) for number in range(20)))
    while not stage.brain.breaker_open:
        stage.sync()
        stage.clock.advance(minutes=2)
    rows = stage.store.memory_rows.rows
    before = {key: rows[key].attempts for key in ids}

    for _ in range(1000):
        stage.clock.advance(hours=1)
        assert counted(stage.sync()) == (0, 0, 0)

    assert {key: rows[key].attempts for key in ids} == before


def test_a_brain_that_has_just_come_back_is_not_run_over() -> None:
    """A backlog of many batches: the first is small, and only good answers make the next one bigger."""
    stage = Stage(InMemoryBrain(down=True))
    stage.plane = replace(stage.plane, pace=Pace(Ramp(first=4, full=64)))
    stage.say(*(str(number) for number in range(300)))
    stage.sync()
    stage.brain.down = False
    probe_brain(stage.plane, stage.notes)

    sizes = [stage.sync().ok for _ in range(8)]

    assert sizes == [4, 8, 16, 32, 64, 64, 64, 48]
    assert stage.owed == 0


def test_a_failure_makes_the_next_batch_small_again() -> None:
    stage = Stage()
    stage.plane = replace(stage.plane, pace=Pace(Ramp(first=4, full=64)))
    stage.say(*(str(number) for number in range(300)))
    for _ in range(4):
        stage.sync()
    stage.brain.down = True

    assert stage.sync().retry == 64

    stage.brain.down = False
    assert stage.sync().ok == 4

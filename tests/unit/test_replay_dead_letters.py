"""Replaying is all or nothing: what would be poison again is named with its place, and then nothing has changed."""

import json
from typing import Any

import pytest

from app.domain.audit import Actor, AuditEntry
from app.domain.dead_letters import Choice, StillPoison
from app.domain.errors import Conflict, NotFound, StoreUnavailable
from app.domain.log import WalPartition
from app.domain.wal import parse_all
from app.routing import TaskName
from app.services.replay_dead_letters import LetterDesk, Wish, discard_letters, replay_letter, replay_letters
from tests.builders import NOW, a_batch, a_wal_body, an_id, wal_bytes
from tests.fakes import FakeClock, InMemoryDeadLetters, RecordingDoorbell

TOPIC = "memory.wal.dlq"
ACTOR = Actor("anonymous", "r-1")


class Scene:
    """A desk with its parts in view."""

    def __init__(self, batch: int = 500, batch_bytes: int = 8_000_000) -> None:
        self.letters, self.bell = InMemoryDeadLetters(), RecordingDoorbell()
        self.desk = LetterDesk(self.letters, self.bell, FakeClock(NOW), TOPIC, batch, batch_bytes)

    def bury(self, raw: bytes, error: str = "it was poison") -> int:
        return self.letters.bury(TOPIC, raw, "bad_schema", error)

    def owed(self) -> list[dict[str, Any]]:
        return [dict(row.thing.record.payload) for row in self.letters.store.record_rows.rows.values()]

    def state(self, letter_id: int) -> str:
        return self.letters.kept[letter_id].state

    def replicate(self, value: bytes) -> None:
        batch = a_batch(WalPartition("elsewhere", 0), 0, value)
        good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
        self.letters.replica.take(batch.partition)
        self.letters.replica.store(batch, good, bad)

    def is_untouched(self) -> bool:
        states = {letter.state for letter in self.letters.kept.values()}
        return states == {"open"} and not self.owed() and not self.letters.audit and not self.bell.rings


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_letter_whose_cause_is_gone_is_replayed_as_it_is(scene: Scene) -> None:
    body = a_wal_body(trace_context={"traceparent": "00-1-2-01"})
    letter_id = scene.bury(json.dumps(body).encode())

    outcome = replay_letter(TOPIC, letter_id, Wish(), scene.desk, ACTOR)

    assert [(replay.letter_id, replay.row.event_id) for replay in outcome.replayed] == [(letter_id, body["event_id"])]
    assert scene.owed() == [body]
    record = outcome.replayed[0].record
    assert (record.topic, record.partition_key, record.tenant) == ("memory.wal", "s-1", "t1")
    assert record.headers == {"event_id": body["event_id"], "type": "memory.write", "traceparent": "00-1-2-01"}
    assert scene.state(letter_id) == "replayed"
    assert scene.bell.tasks == [TaskName.DRAIN_OUTBOX]


def test_a_patch_corrects_the_record(scene: Scene) -> None:
    letter_id = scene.bury(wal_bytes("m-1", timestamp="yesterday", schema=99))

    replay_letter(TOPIC, letter_id, Wish({"timestamp": 5, "schema": 2, "payload": {"x": 1}}), scene.desk, ACTOR)

    (owed,) = scene.owed()
    assert (owed["timestamp"], owed["schema"], owed["payload"]["x"], owed["payload"]["content"]) == (5, 2, 1, "hello")
    (entry,) = scene.letters.audit
    assert (entry.action, entry.subject, entry.actor) == ("dlq.replay", TOPIC, ACTOR)
    assert entry.detail == {"patched": ["payload.x", "schema", "timestamp"], "count": 1, "ids": [letter_id]}


def test_what_is_not_json_can_be_replaced_by_a_whole_record(scene: Scene) -> None:
    whole = a_wal_body()
    for raw in (b"{", b"\xff", b"", b"[1]", b"[" * 100_000):
        letter_id = scene.bury(raw)
        with pytest.raises(StillPoison):
            replay_letter(TOPIC, letter_id, Wish({"tenant": "t1"}), scene.desk, ACTOR)
        assert scene.state(letter_id) == "open"

        outcome = replay_letter(TOPIC, letter_id, Wish({**whole, "event_id": an_id()}), scene.desk, ACTOR)
        assert outcome.replayed[0].record.payload["payload"] == whole["payload"]


def test_a_text_that_could_not_be_stored_can_be_corrected_in_its_place(scene: Scene) -> None:
    letter_id = scene.bury(wal_bytes("m-1", payload={"content": "a\x00b", "mood": "\ud800", "id": "m-1"}))

    with pytest.raises(StillPoison, match="half a surrogate"):
        replay_letter(TOPIC, letter_id, Wish({"payload": {"content": "ab"}}), scene.desk, ACTOR)
    replay_letter(TOPIC, letter_id, Wish({"payload": {"content": "ab", "mood": None}}), scene.desk, ACTOR)

    assert scene.owed()[0]["payload"] == {"content": "ab", "id": "m-1"}


def test_a_record_that_was_too_big_can_be_made_smaller(scene: Scene) -> None:
    big = scene.bury(wal_bytes("m-1", payload={"id": "m-1", "content": "ж" * 700_000}))
    assert replay_letter(TOPIC, big, Wish({"payload": {"content": "ж" * 400_000}}), scene.desk, ACTOR).replayed


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "type": ({"type": "nonsense"}, ("type",)),
    "schema": ({"schema": 3}, ("schema",)),
    "tenant gone": ({"tenant": None}, ("tenant",)),
    "payload": ({"payload": []}, ("payload",)),
    "metadata": ({"payload": {"metadata": 1}}, ("payload", "metadata")),
    "coord": ({"result": {"coord": ["x"]}}, ("result", "coord")),
    "request_id": ({"result": {"request_id": 7}}, ("result", "request_id")),
    "timestamp": ({"timestamp": NOW.timestamp() + 100_000}, ("timestamp",)),
    "version": ({"version": 0}, ("version",)),
    "universe": ({"universe": "x" * 3000}, ("universe",)),
}


@pytest.mark.parametrize(("patch", "where"), WRONG.values(), ids=WRONG.keys())
def test_a_patch_that_breaks_the_schema_is_refused_with_its_place(
    scene: Scene, patch: dict[str, Any], where: tuple[str, ...]
) -> None:
    letter_id = scene.bury(wal_bytes())

    with pytest.raises(StillPoison, match=f"letter {letter_id} would be poison again") as refused:
        replay_letter(TOPIC, letter_id, Wish(patch), scene.desk, ACTOR)

    assert [(unfit.letter_id, unfit.where) for unfit in refused.value.unfit] == [(letter_id, where)]
    assert scene.is_untouched()


def test_one_unfit_letter_holds_back_the_whole_request(scene: Scene) -> None:
    scene.bury(wal_bytes())
    bad = scene.bury(wal_bytes(timestamp=None))
    scene.bury(b"{")

    with pytest.raises(StillPoison, match="so would 1 more; nothing was replayed") as refused:
        replay_letters(Choice(TOPIC), Wish(), scene.desk, ACTOR)

    assert [unfit.letter_id for unfit in refused.value.unfit] == [bad, bad + 1]
    assert scene.is_untouched()


def test_a_dry_run_tells_both_and_changes_nothing(scene: Scene) -> None:
    good, bad = scene.bury(wal_bytes()), scene.bury(b"{")

    outcome = replay_letters(Choice(TOPIC), Wish(dry_run=True), scene.desk, ACTOR)

    assert [replay.letter_id for replay in outcome.replayed] == [good]
    assert [(unfit.letter_id, unfit.where) for unfit in outcome.unfit] == [(bad, ())]
    assert scene.is_untouched()


def test_what_the_replica_holds_with_another_body_is_poison_until_its_version_is_higher(scene: Scene) -> None:
    scene.replicate(wal_bytes("m-1"))
    letter_id = scene.bury(wal_bytes("m-1", payload={"id": "m-1", "content": "other"}))

    with pytest.raises(StillPoison, match="higher version") as refused:
        replay_letter(TOPIC, letter_id, Wish(), scene.desk, ACTOR)
    assert refused.value.unfit[0].where == ("version",)
    assert scene.is_untouched()

    assert replay_letter(TOPIC, letter_id, Wish({"version": 2}), scene.desk, ACTOR).replayed


def test_two_letters_that_contradict_each_other_are_not_replayed_together(scene: Scene) -> None:
    scene.bury(wal_bytes("m-1"))
    second = scene.bury(wal_bytes("m-1", role="tool"))

    with pytest.raises(StillPoison) as refused:
        replay_letters(Choice(TOPIC), Wish(), scene.desk, ACTOR)

    assert [unfit.letter_id for unfit in refused.value.unfit] == [second]


def test_a_group_is_replayed_batch_by_batch(scene: Scene) -> None:
    scene = Scene(batch=2)
    made = [scene.bury(wal_bytes(), "the one reason") for _ in range(5)]
    scene.bury(b"{", "another")
    choice = Choice(TOPIC, fingerprint=scene.letters.kept[made[0]].fingerprint)

    rounds = [replay_letters(choice, Wish(), scene.desk, ACTOR) for _ in range(4)]

    assert [len(outcome.replayed) for outcome in rounds] == [2, 2, 1, 0]
    assert [outcome.remaining for outcome in rounds] == [3, 1, 0, 0]
    assert [scene.state(letter_id) for letter_id in made] == ["replayed"] * 5
    assert scene.state(made[-1] + 1) == "open"


def test_a_batch_is_bounded_by_bytes_as_well() -> None:
    scene = Scene(batch_bytes=1000)
    for _ in range(3):
        scene.bury(wal_bytes())

    assert len(replay_letters(Choice(TOPIC), Wish(), scene.desk, ACTOR).replayed) == 2


def test_a_dry_run_walks_on_from_the_last_letter() -> None:
    scene = Scene(batch=2)
    made = [scene.bury(wal_bytes()) for _ in range(3)]

    first = replay_letters(Choice(TOPIC), Wish(dry_run=True), scene.desk, ACTOR)
    second = replay_letters(Choice(TOPIC, after=first.last_id), Wish(dry_run=True), scene.desk, ACTOR)

    assert [replay.letter_id for replay in (*first.replayed, *second.replayed)] == made
    assert (first.remaining, second.remaining) == (1, 0)


def test_letters_that_were_settled_already_are_skipped_in_a_list_and_refused_alone(scene: Scene) -> None:
    one, two = scene.bury(wal_bytes()), scene.bury(wal_bytes())
    replay_letter(TOPIC, one, Wish(), scene.desk, ACTOR)

    with pytest.raises(Conflict, match="replayed already"):
        replay_letter(TOPIC, one, Wish(), scene.desk, ACTOR)
    outcome = replay_letters(Choice(TOPIC, ids=(one, two)), Wish(), scene.desk, ACTOR)

    assert (outcome.skipped, [replay.letter_id for replay in outcome.replayed]) == ((one,), [two])
    assert len(scene.owed()) == 2


def test_what_is_unknown_is_not_found_and_nothing_is_replayed(scene: Scene) -> None:
    known = scene.bury(wal_bytes())
    with pytest.raises(NotFound, match="no letter 77"):
        replay_letters(Choice(TOPIC, ids=(known, 77)), Wish(), scene.desk, ACTOR)
    with pytest.raises(NotFound, match="no such topic"):
        replay_letters(Choice("elsewhere.dlq"), Wish(), scene.desk, ACTOR)
    with pytest.raises(NotFound):
        discard_letters(Choice("elsewhere.dlq"), scene.desk, ACTOR)

    assert scene.is_untouched()


def test_nothing_to_replay_is_no_ring_and_no_audit(scene: Scene) -> None:
    outcome = replay_letters(Choice(TOPIC), Wish(), scene.desk, ACTOR)

    assert (outcome.replayed, outcome.remaining) == ((), 0)
    assert not scene.bell.rings
    assert not scene.letters.audit


def test_without_postgres_nothing_is_replayed_and_the_caller_may_come_again(scene: Scene) -> None:
    letter_id = scene.bury(wal_bytes())
    scene.letters.store.down = True
    with pytest.raises(StoreUnavailable):
        replay_letter(TOPIC, letter_id, Wish(), scene.desk, ACTOR)

    scene.letters.store.down = False
    assert scene.is_untouched()


def test_discarding_very_many_ends_in_time_and_says_what_is_left(scene: Scene) -> None:
    class SlowLetters(InMemoryDeadLetters):
        def discard(self, choice: Choice, limit: int, entry: AuditEntry) -> int:
            clock.advance(3)
            return super().discard(choice, limit, entry)

    clock, slow = FakeClock(NOW), SlowLetters()
    for _ in range(5_000):
        slow.bury(TOPIC, b"{")
    desk = LetterDesk(slow, scene.bell, clock, TOPIC)

    assert discard_letters(Choice(TOPIC), desk, ACTOR) == (4_000, 1_000)
    assert discard_letters(Choice(TOPIC), desk, ACTOR) == (1_000, 0)


def test_discarding_takes_one_group_and_leaves_the_others(scene: Scene) -> None:
    made = [scene.bury(b"{", f"reason {number % 2}") for number in range(4)]
    fingerprint = scene.letters.kept[made[0]].fingerprint

    assert discard_letters(Choice(TOPIC, fingerprint), scene.desk, ACTOR) == (2, 0)

    assert [scene.state(letter_id) for letter_id in made] == ["discarded", "open"] * 2
    (entry,) = scene.letters.audit
    assert (entry.action, entry.detail) == ("dlq.discard", {"fingerprint": fingerprint, "count": 2})

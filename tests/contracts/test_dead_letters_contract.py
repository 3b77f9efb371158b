"""What every `DeadLetters` promises: groups without reading letters, bounded batches, one deed per letter, an audit."""

import threading
from datetime import datetime

import pytest

from app.domain.dead_letters import Choice, DeadLetter, Replay, examine
from tests.builders import NOW, an_id, wal_bytes
from tests.contracts.desk_rig import LettersRig, MemoryLettersRig, SqlLettersRig, an_entry

ALL = 10**9


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> LettersRig:
    return MemoryLettersRig() if request.param == "memory" else SqlLettersRig(request.getfixturevalue("engine"))


def replays(rig: LettersRig, choice: Choice | None = None) -> list[Replay]:
    fit, unfit = examine(rig.letters.take_open(choice or Choice(rig.topic), 100, ALL), None, NOW.timestamp())
    assert not unfit
    return fit


def ids(letters: list[DeadLetter]) -> list[int]:
    return [letter.id for letter in letters]


def test_open_letters_are_counted_by_their_reason(rig: LettersRig) -> None:
    two = [rig.bury(b"{", "it is broken") for _ in range(2)]
    rig.bury(b"[]", "it is no object")
    other = an_id("other-")
    rig.bury(b"{", topic=other)

    found = {topic.topic: topic for topic in rig.letters.topics(10)}

    topic = found[rig.topic]
    assert (topic.depth, topic.group_count) == (3, 2)
    assert [(group.error, group.kind, group.count) for group in topic.groups] == [
        ("it is broken", "bad_json", 2),
        ("it is no object", "bad_json", 1),
    ]
    assert topic.groups[0].oldest < topic.groups[0].newest
    assert found[other].depth == 1
    assert rig.letters.page(rig.topic, topic.groups[0].fingerprint, None, None, 10)[-1].id == two[0]


def test_only_the_largest_groups_are_shown_and_all_are_counted(rig: LettersRig) -> None:
    for number in range(5):
        for _ in range(number + 1):
            rig.bury(b"{", f"reason {number}")

    (topic,) = [topic for topic in rig.letters.topics(2) if topic.topic == rig.topic]

    assert (topic.depth, topic.group_count) == (15, 5)
    assert [group.error for group in topic.groups] == ["reason 4", "reason 3"]


def test_a_topic_is_known_once_it_had_a_letter(rig: LettersRig) -> None:
    assert not rig.letters.knows(rig.topic)
    rig.bury(b"{")

    assert rig.letters.knows(rig.topic)
    rig.letters.discard(Choice(rig.topic), 10, an_entry())
    assert rig.letters.knows(rig.topic)
    assert rig.topic not in [topic.topic for topic in rig.letters.topics(10)]


def test_letters_are_paged_newest_first_and_filtered(rig: LettersRig) -> None:
    made = [rig.bury(b"{", f"reason {number % 2}") for number in range(4)]
    odd = rig.letters.page(rig.topic, None, None, None, 1)[0].fingerprint

    assert ids(rig.letters.page(rig.topic, None, None, None, 3)) == made[:0:-1]
    assert ids(rig.letters.page(rig.topic, None, None, made[1], 3)) == [made[0]]
    assert ids(rig.letters.page(rig.topic, odd, None, None, 10)) == [made[3], made[1]]
    assert rig.letters.page(rig.topic, None, "replayed", None, 10) == []
    assert rig.letters.page(an_id(), None, None, None, 10) == []


def test_a_list_shows_the_beginning_of_a_long_letter_and_its_size(rig: LettersRig) -> None:
    rig.bury(b"x" * 100_000)

    (letter,) = rig.letters.page(rig.topic, None, None, None, 10)

    assert (len(letter.raw), letter.size) == (65_536, 100_000)
    assert (letter.state, letter.error_kind) == ("open", "bad_json")
    assert isinstance(letter.created_at, datetime)


def test_a_letter_is_taken_whole_and_a_batch_is_bounded_by_its_bytes(rig: LettersRig) -> None:
    made = [rig.bury(bytes([65 + number]) * 100_000) for number in range(4)]

    assert [len(letter.raw) for letter in rig.letters.take_open(Choice(rig.topic), 10, 250_000)] == [100_000, 100_000]
    assert ids(rig.letters.take_open(Choice(rig.topic), 10, 1)) == made[:1]
    assert ids(rig.letters.take_open(Choice(rig.topic), 3, ALL)) == made[:3]
    assert ids(rig.letters.take_open(Choice(rig.topic, after=made[1]), 10, ALL)) == made[2:]
    assert ids(rig.letters.take_open(Choice(rig.topic, upto=made[1]), 10, ALL)) == made[:2]
    assert ids(rig.letters.take_open(Choice(rig.topic, ids=(made[3], made[0])), 10, ALL)) == [made[0], made[3]]


def test_what_is_chosen_is_counted(rig: LettersRig) -> None:
    made = [rig.bury(b"{", f"reason {number % 2}") for number in range(5)]
    even = rig.letters.page(rig.topic, None, None, None, 1)[0].fingerprint

    assert rig.letters.count_open(Choice(rig.topic)) == 5
    assert rig.letters.count_open(Choice(rig.topic, fingerprint=even)) == 3
    assert rig.letters.count_open(Choice(rig.topic, after=made[2])) == 2
    assert rig.letters.newest_open(rig.topic) == made[4]
    assert rig.letters.newest_open(an_id()) == 0


def test_only_letters_of_this_topic_have_a_state_here(rig: LettersRig) -> None:
    mine, other = rig.bury(b"{"), rig.bury(b"{", topic=an_id("other-"))

    assert rig.letters.states(rig.topic, [mine, other, 2**62]) == {mine: "open"}


def test_a_replayed_letter_is_kept_and_its_record_owed_and_noted(rig: LettersRig) -> None:
    key = an_id()
    letter_id, entry = rig.bury(wal_bytes(key)), an_entry("dlq.replay")

    assert rig.letters.replay(replays(rig), None, entry) == [letter_id]

    assert rig.state(letter_id) == "replayed"
    (owed,) = rig.owed()
    assert (owed.dedupe_key, owed.payload["event_id"], owed.due_in) == (f"replay:{letter_id}", key, 0)
    assert rig.audit(entry) == [entry.having(count=1, ids=[letter_id])]


def test_a_letter_is_replayed_once_whoever_comes_later(rig: LettersRig) -> None:
    one, two = rig.bury(wal_bytes()), rig.bury(wal_bytes())
    first, both, late = replays(rig, Choice(rig.topic, ids=(one,))), replays(rig), an_entry()
    rig.letters.replay(first, None, an_entry())

    assert rig.letters.replay(both, None, an_entry()) == [two]
    assert rig.letters.replay(both, None, late) == []

    assert len(rig.owed()) == 2
    assert rig.audit(late) == []


def test_two_people_at_the_same_letters_replay_each_once(rig: LettersRig) -> None:
    made = [rig.bury(wal_bytes()) for _ in range(20)]
    forwards = replays(rig)
    done: list[int] = []
    people = [
        threading.Thread(target=lambda some=some: done.extend(rig.letters.replay(some, None, an_entry())))  # type: ignore[misc]
        for some in (forwards, forwards[::-1], forwards, forwards[::-1])
    ]
    for person in people:
        person.start()
    for person in people:
        person.join(30)

    assert sorted(done) == made
    assert len(rig.owed()) == 20


def test_a_rate_spreads_what_is_due_and_holds_from_request_to_request(rig: LettersRig) -> None:
    made = [rig.bury(wal_bytes()) for _ in range(4)]

    rig.letters.replay(replays(rig, Choice(rig.topic, ids=tuple(made[:2]))), 0.5, an_entry())
    rig.letters.replay(replays(rig), 0.5, an_entry())

    assert [owed.due_in for owed in rig.owed()] == pytest.approx([0, 2, 4, 6], abs=1)


def test_a_discarded_letter_is_never_replayed(rig: LettersRig) -> None:
    made = [rig.bury(wal_bytes()) for _ in range(3)]
    before, entry = replays(rig), an_entry("dlq.discard")

    assert rig.letters.discard(Choice(rig.topic, upto=made[1]), 1, entry) == 1
    assert rig.letters.discard(Choice(rig.topic, upto=made[1]), 5, an_entry()) == 1
    assert rig.letters.discard(Choice(rig.topic, upto=made[1]), 5, an_entry()) == 0

    assert rig.letters.replay(before, None, an_entry()) == made[2:]
    assert [rig.state(letter_id) for letter_id in made] == ["discarded", "discarded", "replayed"]
    assert rig.audit(entry) == [entry.having(count=1)]


def test_the_replica_tells_which_versions_it_holds(rig: LettersRig) -> None:
    key = an_id()
    rig.replicate(wal_bytes(key, version=3))

    held = rig.letters.versions([key, an_id()])

    assert {name: version for name, (version, _) in held.items()} == {key: 3}
    assert isinstance(held[key][1], bytes)

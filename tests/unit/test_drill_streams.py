"""The judge of streams and of what stays behind: a gap, a repeat, other text, a fault not felt, each fails."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from drills.growth import growth
from drills.invariants import disorder, not_felt, unseen
from drills.model_peer import answer_to
from drills.record import Evidence, Holdings, Item, Record, Transcript, Vitals
from drills.transcripts import broken_streams
from tests.unit.test_drill_checker import a_kept_promise, broken

MIB = 1024 * 1024
HELD = Vitals("gateway", 7, 20, 30, 100 * MIB)
Spoil = Callable[[list[Item]], list[Item]]


def told(record: Record) -> list[Item]:
    """What a reader is told of the kept promise's session: its durable events, and each answer in three pieces."""
    items: list[Item] = []
    for event in record.events:
        if event.type == "assistant.final":
            items += [Item("assistant.delta", False, at, event.text[at : at + 10]) for at in (0, 10, 20)]
        items.append(Item(event.type, True, event.seq, event.text))
    return items


def followed(spoil: Spoil = lambda items: items) -> Record:
    record = a_kept_promise()
    transcript = Transcript("s1", "sse", tuple(spoil(told(record))), 3, len(record.events))
    return replace(record, transcripts=(transcript,))


def test_a_stream_that_was_told_in_order_passes() -> None:
    record = followed()

    assert not broken_streams(record)
    assert broken(record) == set()


def test_a_reader_that_was_away_at_the_end_of_an_answer_missed_nothing() -> None:
    assert not broken_streams(followed(lambda items: [item for item in items if item.number != 20 or item.durable]))


def test_an_answer_that_began_anew_is_told_from_its_beginning() -> None:
    again = [Item("assistant.delta", False, 0, "Not"), Item("assistant.reset", False, 0, "")]

    assert not broken_streams(followed(lambda items: [items[0], *again, *items[1:]]))


def without(place: int) -> Spoil:
    return lambda items: items[:place] + items[place + 1 :]


def twice(place: int) -> Spoil:
    return lambda items: [*items[: place + 1], items[place], *items[place + 1 :]]


def swapped(place: int) -> Spoil:
    return lambda items: [*items[:place], items[place + 1], items[place], *items[place + 2 :]]


def other_text(place: int) -> Spoil:
    return lambda items: [*items[:place], replace(items[place], text="other text"), *items[place + 1 :]]


SPOILED: dict[str, Spoil] = {
    "a durable event that was never told": without(5),
    "a durable event told twice": twice(0),
    "a piece that was skipped": without(2),
    "a piece told twice": twice(2),
    "two swapped pieces": swapped(1),
    "two swapped events": swapped(4),
    "a piece of another answer": other_text(1),
    "an answer that is not the durable one": other_text(4),
    "a stream that ended too early": lambda items: items[:-1],
    "a cursor that was forgotten": lambda items: [*items, Item("stream.reset", False, 0, "")],
    "an event that does not exist": lambda items: [*items, Item("user", True, 13, "who am I")],
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_stream_with_something_wrong_fails(spoil: Spoil) -> None:
    assert broken(followed(spoil)) == {"I7"}


def test_a_fault_that_was_felt_too_seldom_fails() -> None:
    record = a_kept_promise()

    assert not not_felt(replace(record, evidence=Evidence(felt=3, needed=3)))
    assert not_felt(replace(record, evidence=Evidence(felt=2, needed=3)))


def test_a_fault_of_which_nothing_can_be_seen_need_not_be_shown() -> None:
    hidden = replace(a_kept_promise(), samples=())

    assert unseen(replace(hidden, evidence=Evidence(1, 1, shows=True)))
    assert not unseen(replace(hidden, evidence=Evidence(1, 1, shows=False)))


@pytest.mark.parametrize("found", [39, 41])
def test_dead_letters_have_to_be_exactly_those_that_were_planted(found: int) -> None:
    planted = replace(a_kept_promise(), planted=40)

    assert not unseen(replace(planted, dead_letters=40))
    assert unseen(replace(planted, dead_letters=found))


def test_two_turns_of_one_session_side_by_side_fail() -> None:
    record = a_kept_promise()
    sample = replace(record.samples[0], side_by_side=1)

    assert disorder(replace(record, samples=(sample, *record.samples[1:])))


def grown(connections: int = 10, **other: int) -> list[str]:
    after = Holdings((replace(HELD, **other),), connections)  # type: ignore[arg-type]
    return growth(replace(a_kept_promise(), holdings=(Holdings((HELD,), 10), after)))


def test_a_little_more_of_everything_is_no_growth() -> None:
    assert not grown(connections=15, threads=25, files=40, resident_bytes=140 * MIB)


@pytest.mark.parametrize("other", [{"threads": 60}, {"files": 90}, {"resident_bytes": 151 * MIB}, {"connections": 60}])
def test_what_piles_up_fails(other: dict[str, int]) -> None:
    assert len(grown(**other)) == 1


def test_a_process_that_began_anew_is_not_compared() -> None:
    assert not grown(pid=8, threads=500)


def test_answers_in_these_tests_are_long_enough_to_be_cut() -> None:
    assert all(len(answer_to(message.text)) > 20 for message in a_kept_promise().messages)

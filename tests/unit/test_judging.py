"""A proof finds whatever was done to a store, and nothing that was not."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.judging import agreed, judge, judge_stranger, newest
from app.domain.log import RawRecord, WalPartition
from app.domain.memory import Place, digest_of
from app.domain.proof import Case, Copy, Kind, Pledge, Store
from app.domain.proof_copies import brain_copy, wal_copies
from app.domain.proof_ports import BrainItem
from tests.builders import NOW, wal_bytes

HOME = Place("t1", "wm", "u-1")
SAID = digest_of({"content": "hello"})
OTHER = digest_of({"content": "hellp"})


def a_pledge(event_id: str = "m-1", digest: bytes | None = SAID, **fields: object) -> Pledge:
    return replace(Pledge(event_id, HOME, "s-1", "user", "key", digest), **fields)  # type: ignore[arg-type]


def a_copy(store: Store, event_id: str = "m-1") -> Copy:
    version = None if store is Store.BRAIN else 1
    inside = "u-1" if store is Store.BRAIN else None
    return Copy(store, event_id, HOME, SAID, version, False, "s-1", "user", "key", inside, event_id)


Harm = tuple[Kind | None, Callable[[Copy], Copy | None]]
HARMS: dict[str, Harm] = {
    "nothing": (None, lambda copy: copy),
    "lost": (Kind.MISSING, lambda copy: None),
    "one byte": (Kind.DIFFERING, lambda copy: replace(copy, digest=OTHER)),
    "another tenant": (Kind.DIFFERING, lambda copy: replace(copy, place=replace(HOME, tenant="t2"))),
    "another namespace": (Kind.DIFFERING, lambda copy: replace(copy, place=replace(HOME, namespace="x"))),
    "another universe": (Kind.DIFFERING, lambda copy: replace(copy, place=replace(HOME, universe="x"))),
    "another session": (Kind.DIFFERING, lambda copy: replace(copy, session_id="")),
    "another role": (Kind.DIFFERING, lambda copy: replace(copy, role="tool")),
    "another key": (Kind.DIFFERING, lambda copy: replace(copy, idempotency_key="x")),
    "another version": (Kind.DIFFERING, lambda copy: replace(copy, version=7)),
    "a tombstone": (Kind.DIFFERING, lambda copy: replace(copy, deleted=True, digest=None)),
    "a contradiction": (Kind.DIFFERING, lambda copy: replace(copy, contradicted=True)),
}


@given(st.lists(st.fixed_dictionaries({store: st.sampled_from(sorted(HARMS)) for store in Store}), max_size=8))
def test_every_harm_is_found_where_it_was_done_and_nowhere_else(memories: list[dict[Store, str]]) -> None:
    for number, harmed in enumerate(memories):
        event_id = f"m-{number}"
        copies = [HARMS[harm][1](a_copy(store, event_id)) for store, harm in harmed.items()]
        case = Case(a_pledge(event_id), tuple(copy for copy in copies if copy is not None))

        found = {(finding.event_id, finding.store, finding.kind) for finding in judge(case, set(Store))}

        expected = {(event_id, store, HARMS[harm][0]) for store, harm in harmed.items() if HARMS[harm][0]}
        assert found == expected


@given(st.sets(st.sampled_from(Store)), st.sets(st.sampled_from(Store)), st.sets(st.sampled_from(Store)))
def test_only_what_was_walked_and_does_not_move_is_judged(
    walked: set[Store], moving: set[Store], given_up: set[Store]
) -> None:
    case = Case(a_pledge(), (), frozenset(moving), frozenset(given_up))

    assert {finding.store for finding in judge(case, walked)} == walked - moving - given_up


@pytest.mark.parametrize("store", Store)
def test_without_a_digest_the_one_that_says_something_else_than_most_is_wrong(store: Store) -> None:
    copies = [a_copy(each) if each is not store else replace(a_copy(each), digest=OTHER) for each in Store]

    found = judge(Case(a_pledge(digest=None), tuple(copies)), set(Store))

    assert [(finding.store, finding.kind, finding.digest) for finding in found] == [(store, Kind.DIFFERING, SAID)]


def test_where_two_stores_contradict_each_other_nobody_is_right() -> None:
    copies = (a_copy(Store.BRAIN), replace(a_copy(Store.WAL), digest=OTHER))

    found = judge(Case(a_pledge(digest=None), copies), {Store.BRAIN, Store.WAL})

    assert {(finding.store, finding.digest) for finding in found} == {(Store.BRAIN, None), (Store.WAL, None)}
    assert agreed(copies) is None


def test_a_second_place_in_somabrain_is_a_copy_or_a_stranger() -> None:
    elsewhere = replace(a_copy(Store.BRAIN), place=replace(HOME, tenant="t2"))
    case = Case(a_pledge(), (elsewhere, a_copy(Store.BRAIN), replace(elsewhere, digest=OTHER)))

    found = judge(case, {Store.BRAIN})

    assert [(finding.kind, finding.tenant, finding.fault) for finding in found] == [
        (Kind.EXTRA, "t2", True),
        (Kind.EXTRA, "t2", False),
    ]


def test_a_universe_without_a_name_is_the_one_that_somabrain_names() -> None:
    nameless = replace(a_pledge(), place=replace(HOME, universe=""))
    copy = replace(a_copy(Store.BRAIN), place=replace(HOME, universe="real"), universe_inside="")

    assert judge(Case(nameless, (copy,)), {Store.BRAIN}) == []


def test_what_is_forgotten_has_to_be_gone_and_to_have_left_a_tombstone() -> None:
    forgotten = a_pledge(forgotten=True, version=2)
    still_there = tuple(a_copy(store) for store in Store)
    gone = tuple(replace(a_copy(store), deleted=True, digest=None, version=2) for store in (Store.WAL, Store.REPLICA))

    found = judge(Case(forgotten, still_there), set(Store))

    assert {finding.store: finding.kind for finding in found} == {
        Store.BRAIN: Kind.EXTRA,
        Store.WAL: Kind.MISSING,
        Store.REPLICA: Kind.EXTRA,
    }
    assert judge(Case(forgotten, gone), set(Store)) == []
    assert {finding.store for finding in judge(Case(forgotten, ()), set(Store))} == {Store.WAL, Store.REPLICA}


def test_a_stranger_is_a_fault_only_where_it_repeats_a_memory_of_ours() -> None:
    stranger = replace(a_copy(Store.WAL, "x"), named="m-1")

    doubled, altered, foreign = (
        judge_stranger(stranger, a_pledge()),
        judge_stranger(replace(stranger, digest=OTHER), a_pledge()),
        judge_stranger(stranger, None),
    )

    assert doubled
    assert altered
    assert foreign
    assert (doubled.fault, altered.fault, foreign.fault) == (True, False, False)
    assert judge_stranger(replace(stranger, deleted=True), a_pledge()) is None


def test_of_the_log_the_newest_version_counts_and_of_one_version_the_first() -> None:
    first = a_copy(Store.WAL)
    again, other = replace(first, locator="0:9"), replace(first, digest=OTHER)
    newer = replace(other, version=2)

    assert newest([first, again]) == [first]
    assert newest([first, other]) == [replace(first, contradicted=True)]
    assert newest([newer, first]) == newest([first, newer]) == [newer]


def test_a_record_of_the_log_and_an_item_of_somabrain_say_the_same_of_one_memory() -> None:
    value = wal_bytes("m-1", payload={"id": "m-1", "content": "hello", "role": "user", "session_id": "s-1"})
    record = RawRecord(WalPartition("memory.wal", 2), 7, value, 0)
    item = BrainItem(HOME, "m-1", {"id": "m-1", "content": "hello", "role": "user", "session_id": "s-1",
                                   "universe": "u-1", "idempotency_key": "key"})  # fmt: skip

    (in_log,), unreadable = wal_copies([record], NOW.timestamp())
    in_brain = brain_copy(item, "t1", "cursor")

    assert (in_log.locator, in_brain.locator, unreadable) == ("2:7", "t1\ncursor", 0)
    assert (in_log.digest, in_log.place, in_log.session_id) == (in_brain.digest, in_brain.place, in_brain.session_id)


def test_a_record_that_cannot_be_read_is_counted() -> None:
    assert wal_copies([RawRecord(WalPartition("memory.wal", 0), 0, b"no", 0)], NOW.timestamp()) == ([], 1)

"""The judge of F4 finds what it looks for."""

from collections import Counter

from drills.tool_faults import Call, judged

WRITE, AGAIN = Call("c-1", "slow_write", "w"), Call("c-2", "slow_again", "a")
CALLS = [WRITE, AGAIN]


def test_one_end_each_and_no_write_twice_is_right() -> None:
    assert judged(CALLS, {"c-1": "unknown", "c-2": "succeeded"}, Counter({"w": 1, "a": 2}), 2) == []


def test_a_write_that_ran_twice_is_found() -> None:
    found = judged(CALLS, {"c-1": "succeeded", "c-2": "succeeded"}, Counter({"w": 2, "a": 1}), 2)

    assert found == ["the write c-1 ran 2 times"]


def test_a_call_without_an_end_is_found() -> None:
    found = judged([WRITE], {"c-1": "running"}, Counter({"w": 1}), 0)

    assert found == ["slow_write c-1 has no end", "1 calls were accepted and 0 results told"]


def test_a_repeatable_call_that_did_not_succeed_is_found() -> None:
    assert judged([AGAIN], {"c-2": "dead"}, Counter({"a": 5}), 1) == ["the repeatable c-2 is dead after 5 runs"]


def test_a_result_told_twice_is_found() -> None:
    found = judged([AGAIN], {"c-2": "succeeded"}, Counter({"a": 1}), 2)

    assert found == ["1 calls were accepted and 2 results told"]

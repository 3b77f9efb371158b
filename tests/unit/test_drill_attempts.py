"""The judge of attempts: an attempt that a later one has replaced must not go on, and must not end the turn."""

import pytest

from drills.invariants import disorder
from drills.record import Event, Record, Window
from tests.unit.test_drill_checker import a_kept_promise

MARK = "m000001"
Step = tuple[str, int]
THINKING, FINAL, ERROR = "assistant.thinking", "assistant.final", "assistant.error"


def a_record(*steps: Step) -> Record:
    """One session with one message, and what its attempts left behind."""
    told = [Event("s1", 1, "u1", "user", MARK, 1.0)]
    told += [Event("s1", seq, f"u1:{seq}", kind, MARK, 1.0, attempt) for seq, (kind, attempt) in enumerate(steps, 2)]
    return Record((), tuple(told), (), (), (), (), 0, (), Window(1, 2, 3, 60))


@pytest.mark.parametrize(
    "steps",
    [
        [(THINKING, 1), (FINAL, 1)],
        [(THINKING, 1), (THINKING, 2), (FINAL, 2)],
        [(THINKING, 1), (THINKING, 3), (FINAL, 3), (THINKING, 1), (FINAL, 1)],
        [(THINKING, 5), (ERROR, 0)],
    ],
    ids=["one attempt", "a second after the first", "a turn after another", "set aside by nobody's attempt"],
)
def test_attempts_in_their_order_are_in_order(steps: list[Step]) -> None:
    assert disorder(a_record(*steps)) == []


@pytest.mark.parametrize(
    "steps",
    [
        [(THINKING, 1), (THINKING, 2), (FINAL, 1)],
        [(THINKING, 2), (THINKING, 1), (FINAL, 1)],
        [(THINKING, 1), (THINKING, 1)],
    ],
    ids=["a zombie ends the turn", "a zombie goes on", "one attempt twice"],
)
def test_an_attempt_that_was_replaced_is_seen(steps: list[Step]) -> None:
    assert len(disorder(a_record(*steps))) == 1


def test_a_record_without_attempts_says_nothing_about_them() -> None:
    assert disorder(a_kept_promise()) == []

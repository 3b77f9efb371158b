"""A peer is offered more only while it answers well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ramp import Ramp


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [(4, 0.1, 8), (64, 0.5, 100), (100, 0.1, 100), (100, 0.7, 100), (100, 1.5, 50), (1, 9.0, 1), (100, None, 4)],
)
def test_the_next_batch_follows_from_the_last_answer(size: int, seconds: float | None, following: int) -> None:
    assert Ramp(first=4, full=100, well_seconds=0.5).after(size, seconds) == following


def test_a_small_batch_size_is_never_exceeded() -> None:
    assert Ramp(first=4, full=2).after(0, None) == 2


@given(st.lists(st.none() | st.floats(0, 60), max_size=50), st.integers(1, 1000))
def test_a_batch_is_never_empty_and_never_too_big(answers: list[float | None], full: int) -> None:
    ramp = Ramp(full=full)
    size = ramp.after(0, None)
    for seconds in answers:
        size = ramp.after(size, seconds)
        assert 1 <= size <= full

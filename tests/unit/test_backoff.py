"""Pauses double up to their cap and never lie further than ten per cent from it."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.backoff import Backoff


def test_pauses_double_up_to_the_cap() -> None:
    pauses = [Backoff().pause(failures, 0.5) for failures in range(8)]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_within_ten_per_cent_whatever_the_jitter(failures: int, jitter: float) -> None:
    middle = Backoff(base=1.0, cap=60.0).pause(failures, 0.5)

    assert 0.89 * middle <= Backoff(base=1.0, cap=60.0).pause(failures, jitter) <= 1.11 * middle

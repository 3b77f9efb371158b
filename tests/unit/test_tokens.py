"""Estimates of tokens: near what models count, rather above it, and corrected by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.profiles import Profile
from app.domain.tokens import correction, estimate_tokens
from app.services.correct_estimates import Corrections
from tests.fakes import FakeClock


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("hi", 1, 2),
        ("The quick brown fox jumps over the lazy dog.", 9, 14),
        ("Straßenbahnhaltestelle, übermorgen", 8, 14),
        ("敏捷的棕色狐狸跳过了懒狗", 10, 18),
        ("これは短い文です。", 6, 12),
        ("Съешь ещё этих мягких французских булок", 12, 30),
        ("def add(a, b):\n    return a + b\n", 8, 16),
        ("🚲🚲🚲", 3, 9),
    ],
)
def test_an_estimate_is_near_what_models_count(text: str, least: int, most: int) -> None:
    assert least <= estimate_tokens(text) <= most


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(first: str, second: str) -> None:
    assert estimate_tokens(first + second) >= max(estimate_tokens(first), estimate_tokens(second))
    assert estimate_tokens(first + second) <= estimate_tokens(first) + estimate_tokens(second)


def test_half_a_sign_is_a_token_like_others() -> None:
    assert estimate_tokens("\ud800" * 7) == 2


@pytest.mark.parametrize(
    ("estimated", "reported", "factor"),
    [
        (0, 0, 1.0),
        (1_999, 9_000, 1.0),
        (2_000, 3_000, 1.5),
        (10_000, 9_000, 0.9),
        (2_000, 0, 0.5),
        (2_000, 90_000, 3.0),
    ],
)
def test_a_correction_is_what_was_reported_per_estimate_within_bounds(
    estimated: int, reported: int, factor: float
) -> None:
    assert correction(estimated, reported) == factor


def test_the_store_is_asked_once_a_minute_for_each_tenant_and_model() -> None:
    asked: list[tuple[str, str]] = []

    def read(tenant: str, model: str) -> float:
        asked.append((tenant, model))
        return float(len(asked))

    clock = FakeClock()
    corrections = Corrections(read, clock)
    first, second = Profile("a", "http://a", "m-1"), Profile("b", "http://b", "m-2")

    assert [corrections("t1", first), corrections("t1", second), corrections("t1", first)] == [1.0, 2.0, 1.0]
    clock.advance(61)
    assert corrections("t1", first) == 3.0
    assert asked == [("t1", "m-1"), ("t1", "m-2"), ("t1", "m-1")]

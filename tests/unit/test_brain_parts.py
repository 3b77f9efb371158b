"""The brain's pure parts: coordinates, words, scores, and what answers mean."""

import hashlib
import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.http.bounded import Answer
from app.adapters.http.brain_answers import (
    check_done,
    check_forgotten,
    figures_of,
    receipt_of,
    receipts_of,
)
from app.adapters.http.brain_requests import header_text
from app.adapters.http.retry_after import wait_wished
from app.brain.coordinates import as_bytes, as_numbers, coordinate_bytes
from app.brain.word_search import Term, score_of
from app.brain.words import lexemes_of, place_lexeme, skeleton_of, text_of, words_of
from app.domain.errors import BrainUnavailable, MemoryRefused, Rejected

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.text(), st.text())
def test_a_coordinate_is_the_digest_of_universe_and_key(universe: str, key: str) -> None:
    try:
        digest = hashlib.blake2b(f"{universe or 'real'}::{key}".encode(), digest_size=12).digest()
    except UnicodeEncodeError:
        return
    assert coordinate_bytes(universe, key) == digest
    assert as_numbers(digest) == [2 * u / 2**32 - 1 for u in struct.unpack(">III", digest)]


@given(st.binary(min_size=12, max_size=12))
def test_numbers_lead_back_to_the_coordinate(coordinate: bytes) -> None:
    numbers = as_numbers(coordinate)
    assert all(-1 <= number <= 1 for number in numbers)
    assert as_bytes(numbers) == coordinate


def test_the_ends_of_the_range_are_coordinates() -> None:
    assert as_bytes([-1.0, 1.0, 0.0]) == b"\x00\x00\x00\x00\xff\xff\xff\xff\x80\x00\x00\x00"


@given(st.text(max_size=300))
def test_words_of_any_text_can_be_stored(text: str) -> None:
    for lexeme in lexemes_of(words_of(text)):
        assert lexeme
        assert "\x00" not in lexeme
        assert len(lexeme.encode()) <= 65


def test_case_and_accents_do_not_count() -> None:
    assert words_of("Crème BRÛLÉE, crème!") == ["creme", "brulee"]


def test_scripts_without_spaces_become_pairs() -> None:
    assert words_of("東京都") == ["東京", "京都"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("receive", "recieve"), ("kitten", "kiten"), ("kitten", "kittens"), ("geography", "geografy")],
)
def test_near_spellings_share_a_skeleton(one: str, other: str) -> None:
    assert skeleton_of(one) == skeleton_of(other) is not None


@pytest.mark.parametrize(("one", "other"), [("kitten", "cotton"), ("invoice", "envoys"), ("berlin", "dublin")])
def test_different_words_keep_different_skeletons(one: str, other: str) -> None:
    assert skeleton_of(one) != skeleton_of(other)


@pytest.mark.parametrize("word", ["cat", "miso", "aeiou", "2026", "東京"])
def test_short_words_and_numbers_have_no_skeleton(word: str) -> None:
    assert skeleton_of(word) is None


def test_places_that_read_alike_have_different_lexemes() -> None:
    assert place_lexeme("a", "b", "c") != place_lexeme("ab", "", "c") != place_lexeme('a","b', "", "c")


def test_a_value_is_found_by_its_text_fields_or_by_everything_in_it() -> None:
    assert text_of({"content": "hello", "id": "x-1", "metadata": {"note": "n"}}) == "hello"
    assert text_of({"note": "deep", "list": [{"more": "text"}], "number": 1}) == "deep\ntext"


def test_a_score_is_the_mean_of_the_words_grades() -> None:
    terms = [Term("cats", "cat", "~kts"), Term("sleeping", "sleep", "~slpng")]
    assert score_of(terms, {"cats", "cat", "sleeping", "sleep"}) == 1.0
    assert score_of(terms, {"cat", "sleep"}) == 0.9
    assert score_of(terms, {"~slpng"}) == 0.3
    assert score_of(terms, set()) == 0.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("1.5", 1.5), ("301", 300), ("٣", None), ("1e9", None), ("inf", None), ("7 seconds", None)],
)
def test_a_wish_in_seconds_is_a_plain_number(header: str, seconds: float | None) -> None:
    assert wait_wished(header, NOON, 300) == seconds


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5))])
@pytest.mark.parametrize(("ahead", "seconds"), [(30, 30), (-30, 0), (9_000, 300)])
def test_a_wish_as_a_date_counts_from_now(ahead: int, seconds: float, zone: timezone) -> None:
    moment = (NOON + timedelta(seconds=ahead)).astimezone(zone)
    assert wait_wished(format_datetime(moment), NOON, 300) == seconds


@given(st.text(max_size=60))
def test_no_wish_can_fail(header: str) -> None:
    found = wait_wished(header, NOON, 300)
    assert found is None or 0 <= found <= 300


ANSWERS = [
    lambda answer: receipt_of(answer, "r-1", NOON),
    lambda answer: receipts_of(answer, ["r-1", "r-2"], NOON),
    lambda answer: check_forgotten(answer, NOON),
    lambda answer: check_done(answer, NOON),
    lambda answer: figures_of(answer, NOON),
]
SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ok", "results", "coordinate", "wm_items", "detail", "deleted"]), inner)
    ),
    max_leaves=9,
)


@pytest.mark.parametrize("read", ANSWERS, ids=["receipt", "receipts", "forgotten", "done", "figures"])
@given(
    status=st.sampled_from([200, 204, 302, 400, 401, 404, 422, 429, 500, 503]),
    body=st.binary(max_size=99) | SAID.map(lambda said: json.dumps(said).encode()),
)
def test_an_answer_is_understood_or_raised_as_one_of_ours(
    read: Callable[[Answer], object], status: int, body: bytes
) -> None:
    try:
        read(Answer(status, {}, body))
    except (BrainUnavailable, Rejected):
        return


@pytest.mark.parametrize("depth", [90, 400, 900, 990, 5_000])
def test_a_reason_nested_without_end_is_no_reason_to_fail(depth: int) -> None:
    body = b'{"detail": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(MemoryRefused):
        receipt_of(Answer(422, {}, body), "r-1", NOON)


@given(st.text(max_size=60))
def test_any_text_can_stand_in_a_header(text: str) -> None:
    assert header_text(text).isascii()
    assert not set(header_text(text)) & set("\r\n \x00")

"""Filters as data: what a search looks for, what a cursor belongs to, which way of looking is cheaper."""

import pytest

from app.domain.browse import MemoryFilter, Position, all_of, contains, literal_words, search_words, walking_is_cheaper


def test_a_search_is_its_words_once_each() -> None:
    assert search_words("  red  Cat\tred\u00a050% ") == ("red", "Cat", "50%")


@pytest.mark.parametrize("query", ["", " ", "?", "-- !!", "\u2014"])
def test_a_search_for_signs_alone_says_what_is_missing(query: str) -> None:
    with pytest.raises(ValueError, match="at least one letter"):
        search_words(query)


@pytest.mark.parametrize("query", ["%", "_", "\\", "é", "7", "50%"])
def test_letters_digits_and_the_three_signs_can_be_searched_for(query: str) -> None:
    assert search_words(query) == (query,)


def test_only_words_with_other_signs_are_compared_literally() -> None:
    assert literal_words(("cat", "50%", "a.b", "x7")) == ["50%", "a.b"]


def test_a_pattern_means_its_signs() -> None:
    assert contains("5%_\\") == "%5\\%\\_\\\\%"


def test_a_query_for_lexemes_quotes_what_they_hold() -> None:
    assert all_of(["o'clock", "a\\b"]) == "'o''clock' & 'a\\\\b'"


def test_filters_survive_as_json() -> None:
    wanted = MemoryFilter(tenant="t1", words=("a", "b"), min_ts=0.0)

    assert wanted.as_dict() == {"tenant": "t1", "words": ("a", "b"), "min_ts": 0.0}
    assert MemoryFilter.from_dict({"tenant": "t1", "words": ["a", "b"], "min_ts": 0.0}) == wanted
    assert MemoryFilter.from_dict({}) == MemoryFilter()


def test_a_cursor_belongs_to_its_filters_and_its_place() -> None:
    here = Position(1.5, 7)
    seal = MemoryFilter(tenant="t1").seal(here)

    assert seal == MemoryFilter(tenant="t1").seal(Position(1.5, 7))
    assert seal != MemoryFilter(tenant="t2").seal(here)
    assert seal != MemoryFilter(tenant="t1", role="user").seal(here)
    assert seal != MemoryFilter(tenant="t1").seal(Position(1.5, 8))


@pytest.mark.parametrize(("matches", "walks"), [(500_000, True), (50_000, True), (2_000, False), (0, False)])
def test_common_words_are_walked_to_and_rare_ones_are_looked_up(matches: float, walks: bool) -> None:
    assert walking_is_cheaper(matches, 1_000_000, 51) is walks

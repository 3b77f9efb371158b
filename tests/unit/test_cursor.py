"""A cursor is a place that the stream gave out; everything else is refused, never guessed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Rejected
from app.domain.stream import Cursor, parse_cursor

numbers = st.integers(0, 10**9 - 1)


@given(st.integers(0, 10**18 - 1), st.integers(1, 10**9 - 1), numbers)
def test_what_is_given_out_is_understood_again(seq: int, attempt: int, offset: int) -> None:
    assert parse_cursor(str(Cursor(seq, attempt, offset))) == Cursor(seq, attempt, offset)
    assert parse_cursor(str(Cursor(seq))) == Cursor(seq)


def test_no_cursor_is_the_beginning() -> None:
    assert parse_cursor("") == Cursor(0)


@pytest.mark.parametrize(
    "text",
    ["-1", "1.2", "1.2.3.4", "1.2.", "a", "1 ", " 1", "1e3", "9" * 19, "1." + "9" * 10 + ".1", "\x00", "٣", "1.0.5"],
)
def test_what_was_never_given_out_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        parse_cursor(text)


@given(st.text(max_size=30))
def test_no_text_whatever_breaks_the_parser(text: str) -> None:
    with suppress(Rejected):
        assert str(parse_cursor(text))

"""JSON is parsed once, at the door; whatever could not be stored or understood alike by all is refused there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.json_text import MAX_DEPTH, BadJson, parse_json, replace_unstorable, storable

storable_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | storable_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable_text, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_can_be_kept_comes_out_as_it_went_in(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60))
def test_no_bytes_whatever_break_the_parser(raw: bytes) -> None:
    try:
        parse_json(raw)
    except BadJson as error:
        kind = error.kind
    else:
        kind = "bad_json"
    assert kind in ("bad_json", "bad_text")


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b"{} {}", b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"[-1e999]", b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}', b"\xef\xbb\xbf{}", b"\xff", b"'a'", b"{a:1}", b"[1,]", b"01", b"9" * 5000,
        b"[" * 100_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b'"\t"',
        "{}".encode("utf-16"),
    ],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_what_is_not_json_for_everybody_is_refused(raw: bytes) -> None:
    with pytest.raises(BadJson) as refused:
        parse_json(raw)

    assert refused.value.kind == "bad_json"


@pytest.mark.parametrize(
    "raw", [b'"\\u0000"', b'"\\ud800"', b'{"\\u0000": 1}', b'{"a": ["\\udfff"]}', b'"\\udc00\\ud800"']
)
def test_text_that_postgres_cannot_keep_is_refused(raw: bytes) -> None:
    with pytest.raises(BadJson) as refused:
        parse_json(raw)

    assert refused.value.kind == "bad_text"


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_nesting_is_taken_up_to_its_limit() -> None:
    deepest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    parse_json(deepest)

    with pytest.raises(BadJson):
        parse_json(b"[" + deepest + b"]" if MAX_DEPTH == 1 else b"[[" + deepest + b"]]")


@given(st.text(st.characters()))
def test_replaced_text_can_be_kept_and_is_as_long_as_before(text: str) -> None:
    replaced = replace_unstorable(text)

    assert storable(replaced)
    assert len(replaced) == len(text)
    assert not storable(text) or replaced == text

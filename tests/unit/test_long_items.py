"""No item of a stream is longer than every client takes; what is cut off can be fetched or comes in pieces."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.events import EventType
from app.domain.long_items import LONGEST_ITEM_BYTES, LONGEST_PIECE, as_json, as_line
from app.domain.stream import Cursor, Delta, StreamMerge
from tests.builders import NOW
from tests.unit.session_history import Reader, an_event

HREF = "/v1/sessions/s-1/events/4"


def an_answer(message: str, **also: Any) -> dict[str, Any]:
    return an_event(4, EventType.FINAL, message, status="completed") | {"session_id": "s-1"} | also


def on_the_line(item: dict[str, Any]) -> dict[str, Any]:
    line = as_line(item)
    assert len(line.encode()) <= LONGEST_ITEM_BYTES
    told: dict[str, Any] = json.loads(line)
    return told


def size(item: dict[str, Any]) -> int:
    return len(as_json(item).encode())


def test_an_item_that_fits_is_left_as_it_is() -> None:
    item = an_answer("x" * 60_000, payload={"a": 1})

    assert on_the_line(item) == item


@pytest.mark.parametrize("text", ["x" * 200_000, "\U0001f600" * 32_000, "\x01" * 20_000])
def test_a_long_event_shows_its_beginning_and_where_all_of_it_is(text: str) -> None:
    item = an_answer(text)

    cut = on_the_line(item)

    assert cut["message"]
    assert text.startswith(cut["message"])
    assert cut["metadata"] == {"status": "completed", "truncated": {"bytes": size(item), "href": HREF}}
    assert (cut["seq"], cut["cursor"], cut["type"]) == (4, "4", "assistant.final")


def test_long_fields_of_a_tool_result_are_in_the_whole_event_only() -> None:
    cut = on_the_line(an_answer("{}", payload={"text": "x" * 100_000}))

    assert "payload" not in cut
    assert cut["metadata"]["truncated"]["href"] == HREF


def test_metadata_that_is_too_long_goes_as_well() -> None:
    cut = on_the_line(an_event(4, EventType.FINAL, "", results="x" * 100_000) | {"session_id": "s-1"})

    assert list(cut["metadata"]) == ["truncated"]


@given(st.integers(0, 3 * LONGEST_PIECE), st.integers(0, 3 * LONGEST_PIECE), st.sampled_from("a\x01\U0001f600"))
def test_a_long_piece_of_live_text_comes_in_pieces_that_join(seen: int, more: int, letter: str) -> None:
    merge, reader = StreamMerge("s-1", Cursor(2)), Reader()
    reader.seqs = [1, 2]
    for item in merge.durable(an_event(3, EventType.THINKING, attempt=1), NOW):
        reader.hear(item)
    for length in (seen, seen + more):
        for item in merge.delta(Delta(3, 1, 0, letter * length), NOW):
            assert size(item) <= LONGEST_ITEM_BYTES
            reader.hear(item)
            assert item["cursor"] == f"3.1.{len(reader.text)}"

    assert reader.text == letter * (seen + more)
    assert json.loads(as_json({"text": letter})) == {"text": letter}

"""Server-sent events, however the network cuts them."""

from hypothesis import given
from hypothesis import strategies as st

from webui.sse import Parser, ServerEvent, write

EVENTS = [ServerEvent("1", '{"a": "é🎈"}'), ServerEvent(), ServerEvent("2.1.5", "two\nlines"), ServerEvent("", "x")]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=40), st.booleans())
def test_events_are_whole_wherever_the_bytes_are_cut(sizes: list[int], carriage_returns: bool) -> None:
    text = "retry: 1000\n\n: comment\n\n" + "".join(
        f"id: {event.id}\ndata: " + (event.data or "").replace("\n", "\ndata: ") + "\n\n" if event.data else ":\n\n"
        for event in EVENTS
    )
    data = (text.replace("\n", "\r\n") if carriage_returns else text).encode()
    parser, found, position = Parser(), [], 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        found += parser.feed(data[position : position + size])
        position += size

    assert found == [ServerEvent(), *EVENTS]


def test_an_event_is_written_with_its_cursor_and_a_heartbeat_as_a_comment() -> None:
    assert write(ServerEvent("7", "{}")) == "id: 7\ndata: {}\n\n"
    assert write(ServerEvent()) == ":\n\n"


def test_an_event_without_a_cursor_does_not_reset_the_readers_place() -> None:
    assert "id:" not in write(ServerEvent("", "{}"))

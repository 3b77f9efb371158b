"""What an operator reads in the terminal: short, aligned, honest about what is cut, and harmless to the terminal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.cli.tables import counted, letter_table, span, table, topic_tables, work_tables

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def counts(**figures: int) -> list[dict[str, Any]]:
    empty = {"owed": 0, "waiting": 0, "leased": 0, "dead": 0, "oldest_age_seconds": 0}
    return [{"kind": "turn", **empty}, {"kind": "memory", **empty, **figures}]


def an_item(**fields: Any) -> dict[str, Any]:
    return {
        "kind": "memory", "id": "m-1", "state": "owed", "attempts": 1, "reason": None, "lease_owner": None,
        "created_at": "2026-01-01T11:58:00+00:00", "run_at": "2026-01-01T12:00:30+00:00", **fields,
    }  # fmt: skip


def test_one_of_a_thing_is_not_told_as_many() -> None:
    assert [counted(number, "line") for number in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert [counted(number, "memory", "memories") for number in (0, 1, 2)] == ["0 memories", "1 memory", "2 memories"]


def test_an_empty_desk_is_one_sentence() -> None:
    assert work_tables({"counts": counts(), "items": [], "next_cursor": None}, NOW) == ["Nothing is owed."]
    assert topic_tables({"topics": [{"topic": "t", "depth": 0, "groups": []}]}, NOW) == ["There are no dead letters."]
    assert letter_table([], NOW) == ["There are none."]


def test_rows_show_how_they_stand_and_why() -> None:
    items = [
        an_item(state="dead", id="m-0", reason="it is wrong"),
        an_item(),
        an_item(state="leased", id="m-2", lease_owner="worker@host:1"),
    ]
    found = {"counts": counts(owed=1, dead=1, leased=1, oldest_age_seconds=120), "items": items, "next_cursor": None}

    assert work_tables(found, NOW) == [
        "kind    owed  waiting  leased  dead  oldest",
        "memory  1     0        1       1     2 min",
        "",
        "kind    id   state   attempts  age    due      reason",
        "memory  m-0  dead    1         2 min           it is wrong",
        "memory  m-1  owed    1         2 min  in 30 s",
        "memory  m-2  leased  1         2 min           with worker@host:1",
    ]


def test_what_does_not_fit_says_so() -> None:
    found = {"counts": counts(owed=1), "items": [an_item(reason="x" * 100)], "next_cursor": "more"}
    lines = work_tables(found, NOW)

    assert lines[4].endswith("x" * 59 + "…")
    assert "There are more" in lines[-1]
    assert work_tables({**found, "items": [], "next_cursor": None}, NOW)[-1] == "None of these."


def test_dead_letters_are_shown_by_topic_and_reason() -> None:
    group = {"fingerprint": "f0", "count": 2, "kind": "bad_json", "error": "it is broken",
             "oldest": "2026-01-01T09:00:00Z", "newest": "2026-01-01T11:59:59Z"}  # fmt: skip
    topics = [{"topic": name, "depth": 2, "groups": [group]} for name in ("a.dlq", "b.dlq")]

    assert topic_tables({"topics": topics}, NOW)[:4] == [
        "a.dlq: 2 open",
        "fingerprint  count  kind      oldest  newest  error",
        "f0           2      bad_json  3 h     1 s     it is broken",
        "",
    ]


def test_nothing_that_was_written_by_others_commands_the_terminal() -> None:
    assert table(("a",), [("\x1b[2Jgone\r\n",)]) == ["a", " [2Jgone"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_a_duration_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text

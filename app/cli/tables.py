"""What an operator sees in the terminal: the desk and the dead letters as tables of plain text."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_REASON_WIDTH = 60
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines with columns as wide as what they hold; what a terminal would take for a command is shown as a space."""
    cells = [[_plain(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def work_tables(found: Mapping[str, Any], now: datetime) -> list[str]:
    """Counts by kind, then the rows; one sentence when nothing is owed."""
    counts = [
        count for count in found["counts"] if any(count[state] for state in ("owed", "waiting", "leased", "dead"))
    ]
    if not counts:
        return ["Nothing is owed."]
    heads = ("kind", "owed", "waiting", "leased", "dead", "oldest")
    sums = [[*(count[name] for name in heads[:5]), span(count["oldest_age_seconds"])] for count in counts]
    rows = [_work_row(item, now) for item in found["items"]]
    more = (
        ["", "There are more; --kind and --state narrow them down, --limit shows more."] if found["next_cursor"] else []
    )
    listing = table(("kind", "id", "state", "attempts", "age", "due", "reason"), rows) if rows else ["None of these."]
    return [*table(heads, sums), "", *listing, *more]


def _work_row(item: Mapping[str, Any], now: datetime) -> list[object]:
    age, due = seconds_since(item["created_at"], now), -seconds_since(item["run_at"], now)
    when = "" if item["state"] in ("dead", "leased") else "now" if due <= 0 else f"in {span(due)}"
    reason = item["reason"] or (f"with {item['lease_owner']}" if item["lease_owner"] else "")
    return [item["kind"], item["id"], item["state"], item["attempts"], span(age), when, shortened(reason)]


def topic_tables(found: Mapping[str, Any], now: datetime) -> list[str]:
    """Dead letters by topic and reason; one sentence when there are none."""
    topics = [topic for topic in found["topics"] if topic["depth"]]
    if not topics:
        return ["There are no dead letters."]
    lines: list[str] = []
    for topic in topics:
        lines += ["", f"{_plain(topic['topic'])}: {topic['depth']} open"]
        rows = [
            [group["fingerprint"], group["count"], group["kind"], span(seconds_since(group["oldest"], now)),
             span(seconds_since(group["newest"], now)), shortened(group["error"])]
            for group in topic["groups"]
        ]  # fmt: skip
        lines += table(("fingerprint", "count", "kind", "oldest", "newest", "error"), rows)
    return lines[1:]


def letter_table(letters: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """Letters of one topic."""
    rows = [
        [letter["id"], letter["state"], letter["error_kind"], letter["size"],
         span(seconds_since(letter["created_at"], now)), shortened(letter["error"])]
        for letter in letters
    ]  # fmt: skip
    return table(("id", "state", "kind", "bytes", "age", "error"), rows) if rows else ["There are none."]


def seconds_since(moment: str, now: datetime) -> float:
    """Seconds between an ISO 8601 moment and now, negative for one to come."""
    return (now - datetime.fromisoformat(moment).astimezone(UTC)).total_seconds()


def span(seconds: float) -> str:
    """A duration in its largest unit that is at least one."""
    for unit, size in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 line`, `2 lines`; `many` where more than one is not said by an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def shortened(text: str) -> str:
    """As much of a reason as fits beside the other columns."""
    return text if len(text) <= _REASON_WIDTH else f"{text[: _REASON_WIDTH - 1]}…"


def harmless(text: str) -> str:
    """Text of several lines with a space for whatever a terminal would take for a command."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in text)


def _plain(cell: object) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in str(cell))

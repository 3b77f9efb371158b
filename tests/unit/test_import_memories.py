"""A file becomes memories in portions; each line that does not is told of, and a second time changes nothing."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from app.domain.imports import Shape, parse
from app.domain.memory import Place
from app.services.import_memories import MOST_PROBLEMS, PORTION, Importing, ImportReport, import_memories
from tests.fakes import InMemoryStore, RecordingDoorbell

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULTS = Place("t1", "wm", "")


def a_row(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A line of our own export."""
    event_id, session = f"m-{number}", {"session_id": "s-1", "persona_id": None, "role": "user", "namespace": "wm"}
    said = {"content": f"number {number}", "metadata": {"n": None}, "attachments": [], "more": [1.0, {"deep": True}]}
    payload = {"id": event_id, "type": "conversation_event", "idempotency_key": f"t0/{number}", **said, **session}
    beside = {"id": number, "event_id": event_id, "tenant": "t0", "universe": "u-1", "deleted_at": None, **session}
    return {**beside, "created_at": "2026-01-01T00:00:00Z", "payload": payload, **fields}


def run(store: InMemoryStore, rows: Iterable[dict[str, Any] | bytes], tenant: str | None = None) -> ImportReport:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows]
    importing = Importing(store.ledger(), RecordingDoorbell(), DEFAULTS, tenant)
    return import_memories(parse(Shape.SOMA, lines), NOW, importing)


def told(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.lines, report.accepted, report.repeated, report.skipped, report.rejected


def test_a_memory_comes_back_as_it_was_exported() -> None:
    store, row = InMemoryStore(), a_row()

    assert told(run(store, [row])) == (1, 1, 0, 0, 0)

    memory = store.memory_rows.rows["m-0"].thing
    assert memory.payload == {**row["payload"], "created_at": "2026-01-01T00:00:00Z"}
    assert (memory.place, memory.session_id, memory.role) == (Place("t0", "wm", "u-1"), "s-1", "user")
    assert memory.idempotency_key == row["payload"]["idempotency_key"]


def test_a_second_time_changes_nothing() -> None:
    store = InMemoryStore()
    rows = [a_row(number) for number in range(PORTION + 7)]

    assert told(run(store, rows)) == (PORTION + 7, PORTION + 7, 0, 0, 0)
    assert told(run(store, rows)) == (PORTION + 7, 0, PORTION + 7, 0, 0)


def test_what_is_wrong_is_told_with_its_line_and_the_rest_is_kept() -> None:
    store = InMemoryStore()
    rows = [a_row(1), b"{cut in the mid", a_row(2, deleted_at="2026-01-02T00:00:00Z"), a_row(3, payload={"content": 7}),
            {"truncated": True}, a_row(4)]  # fmt: skip

    report = run(store, rows)

    assert told(report) == (6, 2, 0, 2, 2)
    assert [problem.line for problem in report.problems] == [2, 4]
    assert report.problems[1].id == "m-3"
    assert sorted(store.memory_rows.rows) == ["m-1", "m-4"]


def test_what_says_something_else_under_a_known_id_is_rejected() -> None:
    store = InMemoryStore()
    run(store, [a_row(1)])

    changed = a_row(1)
    changed["payload"]["content"] = "other words"
    report = run(store, [changed])

    assert told(report) == (1, 0, 0, 0, 1)
    assert "new id" in report.problems[0].error


def test_a_named_tenant_gets_everything() -> None:
    store = InMemoryStore()

    run(store, [a_row(1)], tenant="t9")

    assert store.memory_rows.rows["m-1"].thing.place == Place("t9", "wm", "u-1")


def test_a_million_problems_are_counted_and_the_first_are_told() -> None:
    report = run(InMemoryStore(), [b"nothing\n"] * (MOST_PROBLEMS + 5))

    assert report.rejected == MOST_PROBLEMS + 5
    assert len(report.problems) == MOST_PROBLEMS

"""The database refuses every change of state that the design does not name, whoever asks."""

import re
from collections.abc import Iterator
from itertools import product

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from tests.builders import an_id
from tests.conftest import ROOT

STATES = {
    "turns": ("queued", "running", "done", "failed", "dead", "cancelled", "discarded"),
    "memory_write_outbox": ("pending", "synced", "dead", "discarded"),
    "message_outbox": ("pending", "sent", "dead", "discarded"),
    "dlq_messages": ("open", "replayed", "discarded"),
    "tool_calls": ("queued", "running", "succeeded", "failed", "unknown", "cancelled", "dead", "discarded"),
    "export_jobs": ("queued", "running", "completed", "failed", "cancelled", "dead", "discarded"),
    "webhook_deliveries": ("pending", "delivered", "dead", "discarded"),
}
OWED = {"queued", "running", "pending"}
_ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", re.MULTILINE)
_KEYS = {
    "turns": "event_id",
    "memory_write_outbox": "event_id",
    "message_outbox": "id",
    "dlq_messages": "id",
    "tool_calls": "call_id",
    "export_jobs": "job_id",
    "webhook_deliveries": "delivery_id",
}
_INSERT = {
    "turns": """
        INSERT INTO turns (event_id, session_id, seq, tenant, state, lease_owner, lease_until, finished_at)
        VALUES (:id, :session, 1, 't', :state, :owner, :until, :finished) RETURNING event_id""",
    "tool_calls": """
        INSERT INTO tool_calls (call_id, session_id, tenant, tool, effect, state, lease_owner, lease_until, finished_at)
        VALUES (:id, :session, 't', 'echo', 'read', :state, :owner, :until, :finished) RETURNING call_id""",
    "export_jobs": """
        INSERT INTO export_jobs (job_id, tenant, filters, row_limit, sha256, expires_at, state, lease_owner,
                                 lease_until, finished_at)
        VALUES (:id, :session, '{}', 1, '', now(), :state, :owner, :until, :finished) RETURNING job_id""",
    "memory_write_outbox": """
        INSERT INTO memory_write_outbox (event_id, tenant, namespace, universe, role, payload, idempotency_key, state,
                                         finished_at)
        VALUES (:id, 't', 'wm', '', 'user', '{}', :id, :state, :finished) RETURNING event_id""",
    "webhook_deliveries": """
        INSERT INTO webhook_deliveries (delivery_id, webhook_id, tenant, type, cause, payload, state, finished_at)
        VALUES (:id, :session, 't', 'work.dead', :id, '{}', :state, :finished) RETURNING delivery_id""",
    "message_outbox": """
        INSERT INTO message_outbox (topic, partition_key, payload, dedupe_key, tenant, state, finished_at)
        VALUES ('test', 'k', '{}', :id, 't', :state, :finished) RETURNING id""",
    "dlq_messages": """
        INSERT INTO dlq_messages (topic, error, error_kind, fingerprint, state)
        VALUES ('test', 'e', 'k', :id, :state) RETURNING id""",
}


def documented() -> set[tuple[str, str, str]]:
    """The table of docs/design/delivery.md."""
    found = _ROW.findall((ROOT / "docs/design/delivery.md").read_text(encoding="utf-8"))
    return {(table, before, after) for table, before, after in found}


ALLOWED = documented()
EVERY = [(table, *pair) for table, states in STATES.items() for pair in product(states, repeat=2) if len({*pair}) == 2]


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as opened:
        yield opened
        opened.rollback()


def change(connection: Connection, table: str, before: str, after: str) -> None:
    """Write a row in one state and move it to the other, with everything else as that state wants it."""
    name = an_id("t-")
    connection.execute(
        text("INSERT INTO sessions (session_id, tenant, subject) VALUES (:id, 't', 'test')"), {"id": name}
    )
    values = {"id": name, "session": name, "state": before, **_beside(before)}
    key = connection.execute(text(_INSERT[table]), values).scalar_one()
    held = "lease_owner = :owner, lease_until = :until, finished_at = :finished"
    columns = {"turns": held, "tool_calls": held, "export_jobs": held}
    also = columns.get(table, "finished_at = :finished") if table != "dlq_messages" else "settled_at = :finished"
    statement = f"UPDATE {table} SET state = :state, {also} WHERE {_KEYS[table]} = :key"
    connection.execute(text(statement), {"key": key, "state": after, **_beside(after)})


def _beside(state: str) -> dict[str, str | None]:
    held = "somebody" if state == "running" else None
    return {"owner": held, "until": "now" if held else None, "finished": None if state in OWED else "now"}


@pytest.mark.parametrize(("table", "before", "after"), sorted(ALLOWED))
def test_a_transition_that_the_design_names_is_allowed(
    connection: Connection, table: str, before: str, after: str
) -> None:
    change(connection, table, before, after)


@pytest.mark.parametrize(("table", "before", "after"), [case for case in EVERY if case not in ALLOWED])
def test_every_other_transition_is_refused(connection: Connection, table: str, before: str, after: str) -> None:
    with pytest.raises(IntegrityError, match=f"{table} cannot go from {before} to {after}"):
        change(connection, table, before, after)


def test_the_design_and_the_database_name_the_same_transitions(connection: Connection) -> None:
    triggers = connection.execute(
        text("""
            SELECT c.relname, encode(t.tgargs, 'escape') FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
            JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname = 'refuse_unknown_transition'""")
    ).all()
    enforced = {
        (table, *step.split(">"))
        for table, arguments in triggers
        for step in arguments.removesuffix("\\000").split(", ")
    }

    assert enforced == ALLOWED


def test_the_design_knows_every_state(connection: Connection) -> None:
    for table, states in STATES.items():
        assert {state for name, *pair in ALLOWED if name == table for state in pair} == set(states)


@pytest.mark.parametrize("table", STATES)
def test_a_state_that_is_none_is_refused(connection: Connection, table: str) -> None:
    first = STATES[table][0]
    with pytest.raises(IntegrityError):
        change(connection, table, first, "lost")

"""What the database itself refuses: a state that nothing leads to, a slot that lost its partition. And what the desk
writes down: who did what.

A check sees one version of a row, so the transitions are guarded by a trigger that fires only when a state changes.
An ended row may be discarded by a person; a dead one may be given another life, an ended turn may not: its session
has seen the end.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OUTBOX_STATES = {
    "memory_write_outbox": ("pending", "synced"),
    "message_outbox": ("pending", "sent"),
}
_TRANSITIONS = {
    "turns": "queued>running, queued>cancelled, running>queued, running>done, running>failed, running>dead,"
    " running>cancelled, dead>discarded",
    "memory_write_outbox": "pending>synced, pending>dead, dead>pending, dead>discarded",
    "message_outbox": "pending>sent, pending>dead, dead>pending, dead>discarded",
    "dlq_messages": "open>replayed, open>discarded",
}
_GUARD = """
CREATE FUNCTION refuse_unknown_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (OLD.state || '>' || NEW.state) = ANY (string_to_array(TG_ARGV[0], ', ')) THEN
        RAISE EXCEPTION '% cannot go from % to %', TG_TABLE_NAME, OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
_AUDIT = """
CREATE TABLE audit_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor      text NOT NULL,
    action     text NOT NULL,
    subject    text NOT NULL,
    tenant     text,
    request_id text,
    detail     jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_events_newest ON audit_events (created_at DESC, id DESC);
"""
_DESK = """
ALTER TABLE replicator_offsets ADD COLUMN generation bigint NOT NULL DEFAULT 0;
ALTER TABLE dlq_messages ADD COLUMN settled_at timestamptz;
CREATE INDEX dlq_messages_groups ON dlq_messages (topic, fingerprint, id) WHERE state = 'open';
CREATE INDEX dlq_messages_settled ON dlq_messages (settled_at) WHERE state <> 'open';
CREATE INDEX dlq_messages_newest ON dlq_messages (topic, id DESC);
CREATE INDEX turns_dead ON turns (finished_at) WHERE state = 'dead';
CREATE INDEX memory_write_outbox_dead ON memory_write_outbox (finished_at) WHERE state = 'dead';
CREATE INDEX message_outbox_dead ON message_outbox (finished_at) WHERE state = 'dead';
"""


def upgrade() -> None:
    op.execute(_GUARD + _AUDIT + _DESK)
    _states("turns", "queued", "running", "done", "failed", "dead", "cancelled", "discarded")
    for table, states in _OUTBOX_STATES.items():
        _states(table, *states, "dead", "discarded")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_lease CHECK (state = 'pending' OR lease_owner IS NULL)")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_end CHECK ((state = 'pending') = (finished_at IS NULL))"
        )
    op.execute(
        "ALTER TABLE turns ADD CONSTRAINT turns_end CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))"
    )
    for table, transitions in _TRANSITIONS.items():
        op.execute(
            f"CREATE TRIGGER {table}_transitions BEFORE UPDATE OF state ON {table} FOR EACH ROW"
            f" WHEN (OLD.state IS DISTINCT FROM NEW.state)"
            f" EXECUTE FUNCTION refuse_unknown_transition('{transitions}')"
        )


def downgrade() -> None:
    for table in _TRANSITIONS:
        op.execute(f"DROP TRIGGER {table}_transitions ON {table}")
    op.execute("ALTER TABLE turns DROP CONSTRAINT turns_end")
    for table, states in _OUTBOX_STATES.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_lease, DROP CONSTRAINT {table}_end")
        op.execute(f"UPDATE {table} SET state = 'dead' WHERE state = 'discarded'")  # noqa: S608
        _states(table, *states, "dead")
    op.execute("UPDATE turns SET state = 'dead' WHERE state = 'discarded'")
    _states("turns", "queued", "running", "done", "failed", "dead", "cancelled")
    op.execute(
        "DROP INDEX dlq_messages_groups, dlq_messages_newest, dlq_messages_settled;"
        " DROP INDEX turns_dead, memory_write_outbox_dead, message_outbox_dead;"
        " ALTER TABLE replicator_offsets DROP COLUMN generation; ALTER TABLE dlq_messages DROP COLUMN settled_at; DROP TABLE audit_events;"
        " DROP FUNCTION refuse_unknown_transition()"
    )


def _states(table: str, *states: str) -> None:
    names = ", ".join(f"'{state}'" for state in states)
    op.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_state_check;"
        f" ALTER TABLE {table} ADD CONSTRAINT {table}_state_check CHECK (state IN ({names}))"
    )

"""Tool calls as owed work: a row for each, claimed and ended as every other kind.

`effect` decides what the death of a worker means, so it is kept with the call and not looked up again. `runs` counts
the claims in which the tool may have begun: unlike `excused` nothing forgives one, so that a call that writes
cannot run twice whatever the leases think of its worker.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TRANSITIONS = (
    "queued>running, queued>cancelled, running>queued, running>succeeded, running>failed, running>unknown,"
    " running>cancelled, running>dead, dead>queued, dead>discarded"
)
_TABLE = """
CREATE TABLE tool_calls (
    call_id       text PRIMARY KEY,
    session_id    text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    turn_event_id text,
    tenant        text NOT NULL,
    persona_id    text,
    tool          text NOT NULL,
    effect        text NOT NULL CHECK (effect IN ('read', 'idempotent', 'write')),
    args          jsonb NOT NULL DEFAULT '{}',
    metadata      jsonb NOT NULL DEFAULT '{}',
    state         text NOT NULL DEFAULT 'queued' CHECK (state IN
                  ('queued', 'running', 'succeeded', 'failed', 'unknown', 'cancelled', 'dead', 'discarded')),
    attempts      integer NOT NULL DEFAULT 0,
    runs          integer NOT NULL DEFAULT 0,
    failures      integer NOT NULL DEFAULT 0,
    excused       integer NOT NULL DEFAULT 0,
    outage        boolean NOT NULL DEFAULT false,
    run_at        timestamptz NOT NULL DEFAULT now(),
    lease_owner   text,
    lease_until   timestamptz,
    result        jsonb,
    last_error    text,
    traceparent   text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CONSTRAINT tool_calls_lease CHECK ((state = 'running') = (lease_owner IS NOT NULL)),
    CONSTRAINT tool_calls_end CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX tool_calls_owed ON tool_calls (run_at, created_at) WHERE state IN ('queued', 'running');
CREATE INDEX tool_calls_session ON tool_calls (session_id, created_at DESC);
CREATE INDEX tool_calls_leased ON tool_calls (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX tool_calls_finished ON tool_calls (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX tool_calls_dead ON tool_calls (finished_at) WHERE state = 'dead';
"""


def upgrade() -> None:
    op.execute(_TABLE)
    op.execute(
        "CREATE TRIGGER tool_calls_transitions BEFORE UPDATE OF state ON tool_calls FOR EACH ROW"
        " WHEN (OLD.state IS DISTINCT FROM NEW.state)"
        f" EXECUTE FUNCTION refuse_unknown_transition('{_TRANSITIONS}')"
    )


def downgrade() -> None:
    op.execute("DROP TABLE tool_calls")

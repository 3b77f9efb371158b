"""Schedules, and what became of each of their times.

A run's key is its schedule and its due time: whatever comes of running twice, one time has one run and one message.

Revision ID: 0016
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE schedules (
    schedule_id  text PRIMARY KEY,
    tenant       text NOT NULL,
    tenant_named boolean NOT NULL DEFAULT false,
    session_id   text NOT NULL,
    persona_id   text,
    message      text NOT NULL,
    metadata     jsonb NOT NULL DEFAULT '{}',
    at           timestamptz,
    cron         text,
    time_zone    text NOT NULL,
    missed       text NOT NULL CHECK (missed IN ('run_once', 'skip')),
    enabled      boolean NOT NULL DEFAULT true,
    next_run_at  timestamptz,
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedules_one_timing CHECK ((at IS NULL) <> (cron IS NULL)),
    CONSTRAINT schedules_off CHECK (enabled OR next_run_at IS NULL)
) WITH (fillfactor = 80);
CREATE INDEX schedules_due ON schedules (next_run_at) WHERE next_run_at IS NOT NULL;
CREATE INDEX schedules_newest ON schedules (created_at DESC, schedule_id DESC);
CREATE INDEX schedules_newest_of_tenant ON schedules (tenant, created_at DESC, schedule_id DESC);

CREATE TABLE schedule_runs (
    schedule_id text NOT NULL REFERENCES schedules ON DELETE CASCADE,
    due_at      timestamptz NOT NULL,
    tenant      text NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('ran', 'ran_late', 'skipped', 'failed')),
    times       integer NOT NULL DEFAULT 1,
    event_id    text,
    reason      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, due_at)
);
CREATE INDEX schedule_runs_age ON schedule_runs (created_at);
"""


def upgrade() -> None:
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE schedule_runs, schedules")

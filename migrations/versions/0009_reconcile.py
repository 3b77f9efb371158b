"""Proofs that nothing is missing: the job, what it found, and where it lays down what the stores hold while it compares.

`reconcile_seen` is unlogged: it is written once for every memory and store, and is worth nothing after the job. When
Postgres crashes it is empty, which the job notices by its mark in it, and begins anew.

A memory may be owed again after it was remembered, as another version: that is how a store is repaired.

Revision ID: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE reconcile_jobs (
    job_id      text PRIMARY KEY,
    tenant      text,
    repair      boolean NOT NULL,
    stage       text NOT NULL DEFAULT 'beginning',
    place       jsonb NOT NULL DEFAULT '{}',
    notes       jsonb NOT NULL DEFAULT '[]',
    done        bigint NOT NULL DEFAULT 0,
    total       bigint,
    state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'completed', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    failures    integer NOT NULL DEFAULT 0,
    excused     integer NOT NULL DEFAULT 0,
    outage      boolean NOT NULL DEFAULT false,
    run_at      timestamptz NOT NULL DEFAULT now(),
    lease_owner text,
    lease_until timestamptz,
    last_error  text,
    began_at    timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE UNIQUE INDEX reconcile_jobs_one_at_a_time ON reconcile_jobs ((true)) WHERE state IN ('queued', 'running');

CREATE TABLE reconcile_tallies (
    job_id    text NOT NULL REFERENCES reconcile_jobs ON DELETE CASCADE,
    tenant    text NOT NULL,
    checked   bigint NOT NULL,
    in_flight bigint NOT NULL,
    PRIMARY KEY (job_id, tenant)
);
CREATE TABLE reconcile_findings (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id    text NOT NULL REFERENCES reconcile_jobs ON DELETE CASCADE,
    tenant    text NOT NULL,
    event_id  text NOT NULL,
    store     text NOT NULL,
    kind      text NOT NULL,
    words     text NOT NULL,
    at_tenant text NOT NULL,
    namespace text NOT NULL,
    universe  text NOT NULL,
    version   bigint NOT NULL,
    digest    bytea,
    fault     boolean NOT NULL,
    copy_of   text,
    repair    text
);
CREATE INDEX reconcile_findings_to_repair ON reconcile_findings (job_id, event_id) WHERE fault AND repair IS NULL;
CREATE INDEX reconcile_findings_in_order ON reconcile_findings (job_id, tenant, id);

CREATE UNLOGGED TABLE reconcile_seen (
    event_id        text NOT NULL,
    store           text NOT NULL,
    spot            text NOT NULL,
    tenant          text NOT NULL,
    namespace       text NOT NULL,
    universe        text NOT NULL,
    digest          bytea,
    version         bigint,
    deleted         boolean NOT NULL,
    session_id      text,
    role            text,
    idempotency_key text,
    universe_inside text,
    named           text,
    contradicted    boolean NOT NULL,
    locator         text NOT NULL,
    PRIMARY KEY (event_id, store, spot)
);
CREATE INDEX reconcile_seen_tenants ON reconcile_seen (tenant);
"""
_TRIGGER = """
DROP TRIGGER memory_write_outbox_transitions ON memory_write_outbox;
CREATE TRIGGER memory_write_outbox_transitions BEFORE UPDATE OF state ON memory_write_outbox FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state AND NOT (NEW.state = 'pending' AND ({again})))
    EXECUTE FUNCTION refuse_unknown_transition('pending>synced, pending>dead, dead>pending, dead>discarded')
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_TRIGGER.format(again="NEW.op = 'forget' OR NEW.version > OLD.version"))


def downgrade() -> None:
    op.execute(_TRIGGER.format(again="NEW.op = 'forget'"))
    op.execute("DROP TABLE reconcile_seen, reconcile_findings, reconcile_tallies, reconcile_jobs")

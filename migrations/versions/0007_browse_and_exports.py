"""The words of the replica's memories, and exports: jobs, and the bytes that they have made so far.

`words` is stored, because a list that walks the newest memories looks at it row by row: taking a text apart costs more
than reading it. Adding it rewrites the replica once, under a lock that the replicator waits for; no memory is lost
meanwhile, and none is missing afterwards. Its GIN index takes every write at once (`fastupdate = off`): a full pending
list makes look-ups hundreds of times slower.

An export's bytes lie here and not in files, so that the gateway and the worker need no common disk. They do not compress
again, so they are kept as they are (`EXTERNAL`), and a part of a chunk can be read alone.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TRANSITIONS = (
    "queued>running, queued>cancelled, running>queued, running>completed, running>failed, running>cancelled,"
    " running>dead, dead>queued, dead>discarded"
)
_REPLICA = """
SET LOCAL maintenance_work_mem = '256MB';
ALTER TABLE memory_replica
    ADD COLUMN words tsvector GENERATED ALWAYS AS (memory_words(memory_text(payload))) STORED,
    ALTER COLUMN words SET STATISTICS 300,
    SET (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX memory_replica_words ON memory_replica USING gin (words) WITH (fastupdate = off);
CREATE INDEX memory_replica_persona ON memory_replica (persona_id, wal_timestamp DESC, id DESC);
"""
_EXPORTS = """
CREATE TABLE export_jobs (
    job_id         text PRIMARY KEY,
    tenant         text NOT NULL,
    filters        jsonb NOT NULL,
    row_limit      bigint NOT NULL CHECK (row_limit > 0),
    gzip           boolean NOT NULL DEFAULT false,
    state          text NOT NULL DEFAULT 'queued' CHECK (state IN
                   ('queued', 'running', 'completed', 'failed', 'cancelled', 'dead', 'discarded')),
    attempts       integer NOT NULL DEFAULT 0,
    failures       integer NOT NULL DEFAULT 0,
    excused        integer NOT NULL DEFAULT 0,
    outage         boolean NOT NULL DEFAULT false,
    run_at         timestamptz NOT NULL DEFAULT now(),
    lease_owner    text,
    lease_until    timestamptz,
    upto_id        bigint,
    last_timestamp double precision,
    last_id        bigint,
    row_count      bigint NOT NULL DEFAULT 0,
    total_rows     bigint,
    chunks         integer NOT NULL DEFAULT 0,
    byte_size      bigint NOT NULL DEFAULT 0,
    sha256         text,
    last_error     text,
    traceparent    text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    expires_at     timestamptz,
    erased_at      timestamptz,
    CONSTRAINT export_jobs_lease CHECK ((state = 'running') = (lease_owner IS NOT NULL)),
    CONSTRAINT export_jobs_end CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL)),
    CONSTRAINT export_jobs_whole CHECK (state <> 'completed' OR (sha256 IS NOT NULL AND expires_at IS NOT NULL))
);
CREATE INDEX export_jobs_owed ON export_jobs (run_at, created_at) WHERE state IN ('queued', 'running');
CREATE INDEX export_jobs_leased ON export_jobs (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX export_jobs_finished ON export_jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX export_jobs_dead ON export_jobs (finished_at) WHERE state = 'dead';

CREATE TABLE export_chunks (
    job_id     text NOT NULL REFERENCES export_jobs ON DELETE CASCADE,
    number     integer NOT NULL,
    first_byte bigint NOT NULL,
    bytes      bytea NOT NULL,
    PRIMARY KEY (job_id, number),
    UNIQUE (job_id, first_byte)
);
ALTER TABLE export_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    op.execute(_REPLICA)
    op.execute(_EXPORTS)
    op.execute(
        "CREATE TRIGGER export_jobs_transitions BEFORE UPDATE OF state ON export_jobs FOR EACH ROW"
        " WHEN (OLD.state IS DISTINCT FROM NEW.state)"
        f" EXECUTE FUNCTION refuse_unknown_transition('{_TRANSITIONS}')"
    )


def downgrade() -> None:
    op.execute("DROP TABLE export_chunks, export_jobs")
    op.execute(
        "DROP INDEX memory_replica_words, memory_replica_persona;"
        " ALTER TABLE memory_replica DROP COLUMN words,"
        " RESET (autovacuum_analyze_scale_factor, autovacuum_vacuum_insert_scale_factor)"
    )

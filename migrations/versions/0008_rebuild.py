"""Rebuilds: the replica, and a brain after it, made anew from the log; how far each is, so that any kill may come.

One rebuild at a time: its rows grow in the table `memory_replica_rebuilt`, which takes the replica's place at the end.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE memory_rebuilds (
    id          text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('replica', 'brain')),
    state       text NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'reading', 'remembering', 'completed', 'failed', 'cancelled')),
    read        bigint NOT NULL DEFAULT 0,
    to_read     bigint NOT NULL DEFAULT 0,
    poison      bigint NOT NULL DEFAULT 0,
    comparison  jsonb,
    cursor      bigint NOT NULL DEFAULT 0,
    remembered  bigint NOT NULL DEFAULT 0,
    to_remember bigint NOT NULL DEFAULT 0,
    refused     bigint NOT NULL DEFAULT 0,
    error       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((state IN ('queued', 'reading', 'remembering')) = (finished_at IS NULL))
);
CREATE UNIQUE INDEX memory_rebuilds_one_at_a_time ON memory_rebuilds ((true)) WHERE finished_at IS NULL;
CREATE TABLE memory_rebuild_offsets (
    rebuild_id  text NOT NULL REFERENCES memory_rebuilds ON DELETE CASCADE,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (rebuild_id, partition)
);
"""


def upgrade() -> None:
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS memory_replica_rebuilt; DROP TABLE memory_rebuild_offsets, memory_rebuilds")

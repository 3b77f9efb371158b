"""The words of what was said: messages, answers, and how far stopped answers had come.

`words` is NULL for every other event, so that those cost nothing and stand in none of the indexes. It is stored and its
index takes every write at once, for the reasons that 0007 gives for the replica's. Adding it rewrites the table once,
under a lock that messages wait for.

Revision ID: 0014
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_WORDS = """
SET LOCAL maintenance_work_mem = '256MB';
ALTER TABLE session_events
    ADD COLUMN words tsvector GENERATED ALWAYS AS (
        CASE WHEN type IN ('user', 'assistant.final', 'assistant.cancelled') THEN memory_words(payload ->> 'message') END
    ) STORED,
    ALTER COLUMN words SET STATISTICS 300,
    SET (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX session_events_words ON session_events USING gin (words) WITH (fastupdate = off);
CREATE INDEX session_events_worded ON session_events (created_at DESC, session_id DESC, seq DESC)
    WHERE words IS NOT NULL;
CREATE INDEX session_events_worded_of_tenant
    ON session_events (tenant, created_at DESC, session_id DESC, seq DESC) WHERE words IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_WORDS)


def downgrade() -> None:
    op.execute(
        "DROP INDEX session_events_words, session_events_worded, session_events_worded_of_tenant;"
        " ALTER TABLE session_events DROP COLUMN words,"
        " RESET (autovacuum_analyze_scale_factor, autovacuum_vacuum_insert_scale_factor)"
    )

"""What a model hears of a conversation: stopped answers as far as they came, nothing that was replaced, and summaries
of what was said long ago.

Revision ID: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SAID = "CREATE INDEX session_events_said ON session_events (session_id, turn_seq DESC, seq DESC) WHERE type IN"
_SUMMARIES = """
CREATE TABLE session_summaries (
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    to_turn    bigint NOT NULL,
    tenant     text NOT NULL,
    summary    text NOT NULL,
    event_ids  text[] NOT NULL,
    source     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, to_turn)
);
"""


def upgrade() -> None:
    op.execute("ALTER TABLE session_events ADD COLUMN superseded boolean NOT NULL DEFAULT false")
    op.execute("DROP INDEX session_events_said")
    op.execute(f"{_SAID} ('user', 'assistant.final', 'assistant.cancelled') AND NOT superseded")
    op.execute(
        "CREATE INDEX session_events_context ON session_events (session_id, turn_seq, seq)"
        " WHERE type = 'context.update'"
    )
    op.execute(_SUMMARIES)


def downgrade() -> None:
    op.execute("DROP TABLE session_summaries")
    op.execute("DROP INDEX session_events_context")
    op.execute("DROP INDEX session_events_said")
    op.execute(f"{_SAID} ('user', 'assistant.final')")
    op.execute("ALTER TABLE session_events DROP COLUMN superseded")

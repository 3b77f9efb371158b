"""What a model asked of tools in the middle of a turn: its steps, and the turn that a call belongs to.

A step is kept in the transaction that gives its turn back, together with its calls, so that whoever claims the turn
next goes on from there. `steps` lets a turn be claimed once more for each of them.

Revision ID: 0019
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_STEPS = """
CREATE TABLE turn_steps (
    turn_event_id text NOT NULL REFERENCES turns ON DELETE CASCADE,
    step          integer NOT NULL,
    tenant        text NOT NULL,
    attempt       integer NOT NULL,
    text          text NOT NULL,
    asks          jsonb NOT NULL,
    usage         jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (turn_event_id, step)
);
CREATE INDEX turn_steps_oldest ON turn_steps (created_at);
ALTER TABLE turns ADD COLUMN steps integer NOT NULL DEFAULT 0;
CREATE INDEX tool_calls_awaited ON tool_calls (turn_event_id)
    WHERE turn_event_id IS NOT NULL AND state IN ('queued', 'running');
"""


def upgrade() -> None:
    op.execute(_STEPS)


def downgrade() -> None:
    op.execute("DROP INDEX tool_calls_awaited; ALTER TABLE turns DROP COLUMN steps; DROP TABLE turn_steps")

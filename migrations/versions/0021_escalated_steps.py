"""Why a step of a tool loop was a stronger model's: the steps after it and the answer are, too.

Revision ID: 0021
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE turn_steps ADD COLUMN escalated text NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute("ALTER TABLE turn_steps DROP COLUMN escalated")

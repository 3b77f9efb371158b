"""How often a turn was given back because nobody could decide whether it may be answered: an outage of the policy is no
reason to set a turn aside, however long it lasts.

Revision ID: 0020
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE turns ADD COLUMN undecided integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE turns DROP COLUMN undecided")

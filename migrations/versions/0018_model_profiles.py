"""Model profiles: which endpoints there are besides the one of the settings. They belong to the installation.

Revision ID: 0018
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE model_profiles (
            name text COLLATE "C" PRIMARY KEY,
            role text NOT NULL CHECK (role IN ('dialogue', 'escalation', 'utility')),
            deployment_mode text NOT NULL DEFAULT '',
            base_url text NOT NULL,
            path text NOT NULL DEFAULT '',
            model text NOT NULL DEFAULT '',
            temperature double precision NOT NULL,
            context_tokens integer NOT NULL,
            output_tokens integer NOT NULL,
            extra jsonb NOT NULL DEFAULT '{}',
            input_price double precision NOT NULL DEFAULT 0,
            output_price double precision NOT NULL DEFAULT 0,
            position integer NOT NULL,
            enabled boolean NOT NULL DEFAULT true,
            key_sealed bytea,
            key_origin text,
            key_ending text,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CHECK ((key_sealed IS NULL) = (key_origin IS NULL) AND (key_sealed IS NULL) = (key_ending IS NULL))
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE model_profiles")

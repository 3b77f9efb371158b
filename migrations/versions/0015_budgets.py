"""What tokens may be spent in a day, what was reserved and spent of it, and what it was spent on.

A budget's row of the day is touched by every call of a model that it pays for, so nothing on it is indexed but its key
and half of its page stays free: its new versions lie beside the old ones. A reservation names the claim on the turn
that it was made for, and is over with it.

Revision ID: 0015
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE turns ADD COLUMN subject text NOT NULL DEFAULT 'anonymous';

CREATE TABLE token_budgets (
    tenant         text NOT NULL,
    dimension      text NOT NULL CHECK (dimension IN ('tenant', 'persona', 'key')),
    who            text NOT NULL,
    tokens_per_day bigint CHECK (tokens_per_day >= 0),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, dimension, who)
);

CREATE TABLE token_spending (
    tenant    text NOT NULL,
    dimension text NOT NULL,
    who       text NOT NULL,
    day       date NOT NULL,
    used      bigint NOT NULL DEFAULT 0,
    reserved  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, dimension, who, day)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX token_spending_day ON token_spending (day);

CREATE TABLE token_reservations (
    event_id    text NOT NULL,
    attempts    integer NOT NULL,
    step        text NOT NULL,
    owner       text NOT NULL,
    tenant      text NOT NULL,
    persona_id  text,
    subject     text NOT NULL,
    day         date NOT NULL,
    tokens      bigint NOT NULL,
    returned    boolean NOT NULL DEFAULT false,
    settled     boolean NOT NULL DEFAULT false,
    finished_at timestamptz,
    PRIMARY KEY (event_id, attempts, step),
    CHECK ((returned OR settled) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX token_reservations_held ON token_reservations (event_id) WHERE finished_at IS NULL;
CREATE INDEX token_reservations_finished ON token_reservations (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE token_usage (
    day              date NOT NULL,
    tenant           text NOT NULL,
    persona_id       text NOT NULL,
    subject          text NOT NULL,
    model            text NOT NULL,
    requests         bigint NOT NULL DEFAULT 0,
    input_tokens     bigint NOT NULL DEFAULT 0,
    output_tokens    bigint NOT NULL DEFAULT 0,
    cost             numeric NOT NULL DEFAULT 0,
    estimated_tokens bigint NOT NULL DEFAULT 0,
    reported_tokens  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, tenant, persona_id, subject, model)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX token_usage_of_tenant ON token_usage (tenant, day);
"""


def upgrade() -> None:
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE token_usage, token_reservations, token_spending, token_budgets")
    op.execute("ALTER TABLE turns DROP COLUMN subject")

"""The built-in memory service, in a schema of its own: memories and the links between them.

`words` holds a memory's words, their English stems and their skeletons (near-spellings), and one lexeme for the place,
so that one index serves every tenant. Its GIN index takes every write at once (`fastupdate = off`): a full pending
list makes look-ups hundreds of times slower.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE SCHEMA brain;

CREATE TABLE brain.memories (
    tenant           text COLLATE "C" NOT NULL,
    namespace        text COLLATE "C" NOT NULL,
    universe         text COLLATE "C" NOT NULL,
    key              text COLLATE "C" NOT NULL,
    value            jsonb NOT NULL,
    about            jsonb NOT NULL DEFAULT '{}',
    tags             text[] NOT NULL DEFAULT '{}',
    idempotency_key  text,
    digest           bytea NOT NULL,
    coordinate       bytea NOT NULL CHECK (octet_length(coordinate) = 12),
    words            tsvector NOT NULL,
    writes           integer NOT NULL DEFAULT 1,
    expires_at       timestamptz,
    written_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, namespace, universe, key)
) WITH (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX memories_words ON brain.memories USING gin (words) WITH (fastupdate = off);
CREATE INDEX memories_newest ON brain.memories (tenant, namespace, universe, written_at DESC);
CREATE INDEX memories_coordinate ON brain.memories (tenant, coordinate);

CREATE TABLE brain.links (
    tenant      text COLLATE "C" NOT NULL,
    namespace   text COLLATE "C" NOT NULL,
    universe    text COLLATE "C" NOT NULL,
    from_key    text COLLATE "C" NOT NULL,
    to_key      text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    weight      double precision NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, namespace, universe, from_key, to_key, type)
);
"""


def upgrade() -> None:
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP SCHEMA brain CASCADE")

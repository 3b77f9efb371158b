"""The memory service learns to search by meaning and to stay forgotten.

`brain.embeddings` stands beside the memories, so that writing a memory never waits for it and it can be missing as a
whole: where Postgres has no extension `vector` (0.7 or newer, for `halfvec`), or we may not create it, the service works
by words. `brain.prepare_embeddings` is asked again by every process that starts, so that an operator may add the
extension at any later time.

`brain.forgotten` keeps which write of a memory was deleted, so that a request that a delete has overtaken does not bring
it back.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FORGOTTEN = """
CREATE TABLE brain.forgotten (
    tenant           text COLLATE "C" NOT NULL,
    namespace        text COLLATE "C" NOT NULL,
    -- Empty where the delete named no universe and met no memory: it then holds for every universe.
    universe         text COLLATE "C" NOT NULL,
    key              text COLLATE "C" NOT NULL,
    idempotency_key  text COLLATE "C" NOT NULL,
    forgotten_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- The idempotency key by its digest: it may be longer than what an index takes.
CREATE UNIQUE INDEX forgotten_writes ON brain.forgotten (tenant, namespace, universe, key, md5(idempotency_key));
CREATE INDEX forgotten_oldest ON brain.forgotten (forgotten_at);
-- How the embedder meets what is new without looking at everything; an expression, so that no recall in one place takes
-- it for a way through the memories of all places.
CREATE INDEX memories_recent ON brain.memories ((written_at AT TIME ZONE 'UTC'));
"""
_PREPARE = """
CREATE FUNCTION brain.prepare_embeddings() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('brain.embeddings') IS NOT NULL THEN
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector') THEN
        RETURN false;
    END IF;
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE brain.embeddings (
        tenant       text COLLATE "C" NOT NULL,
        namespace    text COLLATE "C" NOT NULL,
        universe     text COLLATE "C" NOT NULL,
        key          text COLLATE "C" NOT NULL,
        digest       bytea NOT NULL,
        -- Empty for a memory that holds no text.
        embedding    halfvec(384),
        embedded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant, namespace, universe, key),
        FOREIGN KEY (tenant, namespace, universe, key) REFERENCES brain.memories ON DELETE CASCADE
    ) WITH (
        autovacuum_vacuum_insert_scale_factor = 0.1,
        autovacuum_analyze_scale_factor = 0.05
    );
    CREATE INDEX embeddings_nearest ON brain.embeddings USING hnsw (embedding halfvec_ip_ops);
    RETURN true;
-- Not allowed; installed too old, or where we do not look; made by another process in this moment.
EXCEPTION WHEN insufficient_privilege OR undefined_object OR undefined_file OR feature_not_supported
            OR duplicate_table OR duplicate_object OR unique_violation THEN
    RETURN to_regclass('brain.embeddings') IS NOT NULL;
END
$$;
"""


def upgrade() -> None:
    op.execute(_FORGOTTEN)
    op.execute(_PREPARE)
    op.execute("SELECT brain.prepare_embeddings()")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS brain.embeddings")
    op.execute("DROP FUNCTION brain.prepare_embeddings(); DROP TABLE brain.forgotten; DROP INDEX brain.memories_recent")

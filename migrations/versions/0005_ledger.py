"""The ledger: every memory that was ever accepted, with the digest of what it said and whether it is forgotten.

Owed rows are pruned once they are done; the ledger is not, so that "is anything missing?" can be computed at any time.
A memory's `version` counts what was decided about it: 1 is its remembering, a forgetting is one more. What is done
about an outdated version is fenced, because a new decision counts the row's attempts up.

`memory_words` is how the words of a memory are found, in what is owed and in the replica alike: words without case, and
`%`, `_` and `\\` as words of their own, so that a search for such a sign has an index.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WORDS = r"""
CREATE FUNCTION memory_text(payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(payload ->> 'content', payload ->> 'text', payload ->> 'what', payload ->> 'task', '')
$$;
-- Signs become spaces before the parser sees them: it would make hosts, paths, addresses and tags of them.
CREATE FUNCTION memory_words(said text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT strip(to_tsvector('simple'::regconfig, translate(
        replace(replace(replace(left(said, 60000), '%', ' signpercent '), '_', ' signunderscore '), '\', ' signbackslash '),
        '.,:;!?/@#&=~+*^$|<>()[]{}"''`-„“”‚‘’«»‹›–—…·•¿¡。、，！？：；（）「」『』《》' || chr(160) || chr(12288),
        repeat(' ', 80))))
$$;
"""
_LEDGER = """
CREATE TABLE memory_ledger (
    event_id        text PRIMARY KEY,
    tenant          text NOT NULL,
    namespace       text NOT NULL,
    universe        text NOT NULL,
    session_id      text,
    persona_id      text,
    role            text NOT NULL,
    idempotency_key text NOT NULL,
    digest          bytea,
    version         bigint NOT NULL DEFAULT 1,
    forgotten_at    timestamptz,
    accepted_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX memory_ledger_in_order ON memory_ledger (tenant, event_id COLLATE "C");
-- What was accepted before there was a ledger has no digest: nobody computed one then.
INSERT INTO memory_ledger (event_id, tenant, namespace, universe, session_id, persona_id, role, idempotency_key, accepted_at)
SELECT event_id, tenant, namespace, universe, session_id, persona_id, role, idempotency_key, created_at
FROM memory_write_outbox;
INSERT INTO memory_ledger (event_id, tenant, namespace, universe, session_id, persona_id, role, idempotency_key, version,
                           forgotten_at, accepted_at)
SELECT event_id, tenant, namespace, universe, session_id, persona_id, coalesce(role, ''),
       coalesce(payload ->> 'idempotency_key', ''), version, deleted_at, created_at
FROM memory_replica
ON CONFLICT (event_id) DO NOTHING;
"""
_OUTBOX = """
ALTER TABLE memory_write_outbox ADD COLUMN version bigint NOT NULL DEFAULT 1;
CREATE INDEX memory_write_outbox_words ON memory_write_outbox USING gin (memory_words(memory_text(payload)))
    WITH (fastupdate = off) WHERE state = 'pending' AND op = 'remember';
DROP TRIGGER memory_write_outbox_transitions ON memory_write_outbox;
"""
# A forgetting makes a finished row owed again: it is another decision about the same memory.
_TRIGGER = """
CREATE TRIGGER memory_write_outbox_transitions BEFORE UPDATE OF state ON memory_write_outbox FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state {exception})
    EXECUTE FUNCTION refuse_unknown_transition('pending>synced, pending>dead, dead>pending, dead>discarded')
"""


def upgrade() -> None:
    op.execute(_WORDS)
    op.execute(_LEDGER)
    op.execute(_OUTBOX)
    op.execute(_TRIGGER.format(exception="AND NOT (NEW.state = 'pending' AND NEW.op = 'forget')"))


def downgrade() -> None:
    op.execute("DELETE FROM memory_write_outbox WHERE op = 'forget'")
    op.execute("DROP TRIGGER memory_write_outbox_transitions ON memory_write_outbox")
    op.execute(_TRIGGER.format(exception=""))
    op.execute("DROP INDEX memory_write_outbox_words; ALTER TABLE memory_write_outbox DROP COLUMN version")
    op.execute("DROP TABLE memory_ledger; DROP FUNCTION memory_words(text); DROP FUNCTION memory_text(jsonb)")

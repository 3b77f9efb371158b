"""A memory that a worker has in hand leaves the index of waiting words: claiming it costs half as much. There are few of
those, so a search reads them one by one.

`memory_words` does what it did, a third as long: one regular expression instead of `translate`, which compares every
letter of a text with every sign of its list. Its results are the same, so what is indexed stays as it is.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WORDS = r"""
CREATE OR REPLACE FUNCTION memory_words(said text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT strip(to_tsvector('simple'::regconfig, {cut}))
$$;
"""
_READABLE = (
    r"replace(replace(replace(left(said, 60000), '%', ' signpercent '), '_', ' signunderscore '),"
    r" '\', ' signbackslash ')"
)
_BY_EXPRESSION = (
    rf"regexp_replace({_READABLE}, "
    r"""'[\[\].,:;!?/@#&=~+*^$|<>(){}"''`„“”‚‘’«»‹›–—…·•¿¡。、，！？：；（）「」『』《》\u00a0\u3000-]', ' ', 'g')"""
)
_BY_TRANSLATION = (
    rf"translate({_READABLE}, "
    r"""'.,:;!?/@#&=~+*^$|<>()[]{}"''`-„“”‚‘’«»‹›–—…·•¿¡。、，！？：；（）「」『』《》' || chr(160) || chr(12288), """
    "repeat(' ', 80))"
)
_INDEX = """
DROP INDEX memory_write_outbox_words;
CREATE INDEX memory_write_outbox_words ON memory_write_outbox USING gin (memory_words(memory_text(payload)))
    WITH (fastupdate = off) WHERE state = 'pending' AND op = 'remember'{free};
"""


def upgrade() -> None:
    op.execute(_WORDS.format(cut=_BY_EXPRESSION))
    op.execute(_INDEX.format(free=" AND lease_owner IS NULL"))


def downgrade() -> None:
    op.execute(_WORDS.format(cut=_BY_TRANSLATION))
    op.execute(_INDEX.format(free=""))

"""Two tables of one shape: are they equal, and one in the place of the other, under all the names that it had."""

from collections import defaultdict

from sqlalchemy import Connection, text

from app.domain.rebuild import Comparison, TableDigest

# What a row says. The blanks are clear ends: everything after the id is a number, hex or a word.
_SAID = """md5({0}.event_id || ' ' || {0}.version || ' ' || encode({0}.body_digest, 'hex') || ' '
              || ({0}.deleted_at IS NOT NULL)::text || ' ' || coalesce({0}.payload::text, ''))"""
# A sum does not depend on the order of the rows, and unlike an exclusive or it counts a row that is there twice.
_DIGEST = """
    SELECT count(*) AS rows, md5(count(*) || ' ' || coalesce(sum(('x' || left(said, 15))::bit(60)::bigint), 0) || ' '
                                 || coalesce(sum(('x' || right(said, 15))::bit(60)::bigint), 0)) AS digest
    FROM (SELECT {said} AS said FROM {table} t) each_row
"""
_DIFFERENCES = """
    WITH differing AS MATERIALIZED (
        SELECT coalesce(o.event_id, n.event_id) AS event_id, o.event_id IS NULL AS only_new,
               n.event_id IS NULL AS only_old
        FROM {old} o FULL JOIN {new} n ON n.event_id = o.event_id
        WHERE o.event_id IS NULL OR n.event_id IS NULL OR {said_old} <> {said_new})
    SELECT count(*) FILTER (WHERE only_old) AS only_old, count(*) FILTER (WHERE only_new) AS only_new,
           count(*) FILTER (WHERE NOT only_old AND NOT only_new) AS differing,
           ARRAY(SELECT event_id FROM differing ORDER BY event_id LIMIT 20) AS examples
    FROM differing
"""
_INDEXES = text("""
    SELECT c.relname AS name, i.indisunique || split_part(pg_get_indexdef(i.indexrelid), ' USING ', 2) AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = CAST(:table AS regclass) ORDER BY c.relname
""")
_SEQUENCE = text(
    "SELECT c.relname FROM pg_class c WHERE c.oid = CAST(pg_get_serial_sequence(:table, 'id') AS regclass)"
)


def compare(connection: Connection, old: str, new: str) -> Comparison:
    """Both digests, and what differs where they do."""
    was, becomes = _digest(connection, old), _digest(connection, new)
    if was == becomes:
        return Comparison(was, becomes)
    statement = _DIFFERENCES.format(old=old, new=new, said_old=_SAID.format("o"), said_new=_SAID.format("n"))
    found = connection.execute(text(statement)).one()
    return Comparison(was, becomes, found.only_old, found.only_new, found.differing, tuple(found.examples))


def _digest(connection: Connection, table: str) -> TableDigest:
    statement = _DIGEST.format(said=_SAID.format("t"), table=table)
    return TableDigest(*connection.execute(text(statement)).one())


def take_the_place(connection: Connection, old: str, new: str) -> None:
    """`new` is called `old` from now on, with the names of its indexes and its sequence, so that the next one can be
    made beside it; what was called so is gone. Whoever reads `old` is waited for as long as a lock may take.
    """
    connection.execute(text(f"LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE"))
    indexes = _same_indexes(connection, old, new)
    sequences = [connection.execute(_SEQUENCE, {"table": table}).scalar_one() for table in (new, old)]
    connection.execute(text(f"SELECT setval('{sequences[0]}', last_value, is_called) FROM {sequences[1]}"))  # noqa: S608
    connection.execute(text(f"DROP TABLE {old}"))
    connection.execute(text(f"ALTER TABLE {new} RENAME TO {old}"))
    connection.execute(text(f"ALTER SEQUENCE {sequences[0]} RENAME TO {sequences[1]}"))
    for its, becomes in indexes:
        connection.execute(text(f"ALTER INDEX {its} RENAME TO {becomes}"))


def _same_indexes(connection: Connection, old: str, new: str) -> list[tuple[str, str]]:
    """For each index of `new` the name of the one of `old` that is made in the same way."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(_INDEXES, {"table": old}):
        names[row.definition].append(row.name)
    return [(row.name, names[row.definition].pop(0)) for row in connection.execute(_INDEXES, {"table": new})]

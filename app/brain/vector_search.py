"""Recall by meaning: the memories whose vectors lie nearest to the question's.

The HNSW index serves all places at once and knows none: it hands out the nearest of everybody, and what belongs to
others falls away. So a place with few vectors is searched exactly, a larger one through the index, which goes on
looking (pgvector 0.8) until enough are found, and exactly where that was not enough.
"""

from sqlalchemy import Connection, text

from app.brain.bodies import Recall
from app.brain.found import Found, narrowing, place_and_limits

_FEW = 2_000
_LOOKED_AT = 100
_HERE = "e.tenant = :tenant AND e.namespace = :namespace AND e.universe = :universe AND e.embedding IS NOT NULL"
_COUNT = text(f"""
    SELECT count(*) FROM (SELECT 1 FROM brain.embeddings e WHERE {_HERE} LIMIT :few) AS counted
""")  # noqa: S608 - the insertions in this module are its own constants
_NEAREST = text(f"""
    SELECT e.key, e.digest, e.embedding <#> CAST(:vector AS halfvec) AS distance
    FROM brain.embeddings e WHERE {_HERE}
    ORDER BY e.embedding <#> CAST(:vector AS halfvec) LIMIT {_LOOKED_AT}
""")  # noqa: S608
_STAND = """
    SELECT key, digest, written_at FROM brain.memories
    WHERE tenant = :tenant AND namespace = :namespace AND universe = :universe AND key = ANY(CAST(:keys AS text[]))
      AND {narrowing}
"""
_EXACTLY = f"""
    WITH near AS MATERIALIZED (
        SELECT e.key, e.digest, e.embedding <#> CAST(:vector AS halfvec) AS distance
        FROM brain.embeddings e WHERE {_HERE}
    )
    SELECT m.key, -near.distance AS nearness, m.written_at
    FROM near JOIN brain.memories m
      ON m.tenant = :tenant AND m.namespace = :namespace AND m.universe = :universe AND m.key = near.key
     AND m.digest = near.digest
    WHERE {{narrowing}}
    ORDER BY near.distance LIMIT :limit
"""  # noqa: S608
_LOOK_FAR = text("SELECT set_config('hnsw.ef_search', :looked_at, true)")
_GO_ON = text("SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true)")
# A Postgres that has not counted a young table yet would look through the whole place once per vector.
_MEET_ONCE = text("SELECT set_config('enable_nestloop', 'off', true)")


def by_meaning(connection: Connection, asked: Recall, vector: str, limit: int, goes_on: bool) -> list[Found]:
    """At most so many memories, nearest first; `goes_on` tells whether this pgvector can look further by itself.

    A vector of an earlier content does not count: until the new one is there, words find that memory.
    """
    parameters = {**place_and_limits(asked), "vector": vector, "limit": limit}
    there = connection.execute(_COUNT, {**parameters, "few": _FEW + 1}).scalar_one()
    if not there:
        return []
    if there > _FEW:
        found = _by_index(connection, asked, parameters, goes_on)
        if len(found) >= limit:
            return found[:limit]
    connection.execute(_MEET_ONCE)
    rows = connection.execute(text(_EXACTLY.format(narrowing=narrowing(asked))), parameters).all()
    return [Found(row.key, row.nearness, row.written_at) for row in rows]


def _by_index(connection: Connection, asked: Recall, parameters: dict[str, object], goes_on: bool) -> list[Found]:
    connection.execute(_LOOK_FAR, {"looked_at": str(_LOOKED_AT)})
    if goes_on:
        connection.execute(_GO_ON)
    near = connection.execute(_NEAREST, parameters).all()
    stand = text(_STAND.format(narrowing=narrowing(asked)))
    standing = {row.key: row for row in connection.execute(stand, {**parameters, "keys": [row.key for row in near]})}
    found = [
        Found(row.key, -row.distance, memory.written_at)
        for row in near
        if (memory := standing.get(row.key)) is not None and bytes(memory.digest) == bytes(row.digest)
    ]
    return sorted(found, key=Found.order)

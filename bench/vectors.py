"""Vectors for a hundred thousand memories in a minute: real ones, mixed in pairs and blurred; the index comes last."""

from collections.abc import Sequence
from typing import Any

_KNOWN = "CREATE TEMP TABLE known (number serial, vector vector(384))"
_MIX = """
    INSERT INTO brain.embeddings (tenant, namespace, universe, key, digest, embedding)
    SELECT m.tenant, m.namespace, m.universe, m.key, m.digest,
           l2_normalize(one.vector + other.vector + blur.v)::halfvec(384)
    FROM (SELECT *, row_number() OVER () - 1 AS n FROM brain.memories WHERE tenant = %(tenant)s) m
    JOIN known one ON one.number = 1 + m.n %% %(known)s
    JOIN known other ON other.number = 1 + (m.n / %(known)s * 7) %% %(known)s
    CROSS JOIN LATERAL (
        SELECT array_agg((random() - 0.5) * 0.1)::real[]::vector(384) AS v FROM generate_series(1, 384) WHERE m.n >= 0
    ) blur
"""


def give_vectors(connection: Any, tenant: str, real: Sequence[str]) -> None:
    """Every memory of this tenant gets a vector of its own, near to those of two real texts."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET maintenance_work_mem = '256MB'")
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'embeddings_nearest'")
        (index,) = cursor.fetchone()
        cursor.execute("DROP INDEX brain.embeddings_nearest")
        cursor.execute(_KNOWN)
        cursor.executemany("INSERT INTO known (vector) VALUES (%s)", [(vector,) for vector in real])
        cursor.execute("ANALYZE brain.memories")
        cursor.execute(_MIX, {"tenant": tenant, "known": len(real)})
        cursor.execute(index)
        cursor.execute("VACUUM ANALYZE brain.embeddings")

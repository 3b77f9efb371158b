"""The statements that keep and delete memories: one for a whole batch, and one for a deletion.

A write and a deletion in the same drawer (tenant and namespace) exclude each other by an advisory lock; writes share
it. So a deletion sees every memory that was answered for, and a write sees every deletion: nothing deleted comes back.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, text

from app.brain.bodies import Forget, Item
from app.brain.coordinates import as_bytes, coordinate_bytes
from app.brain.words import lexemes_of, place_lexeme, text_of, words_of
from app.domain.memory import Place

Offered = tuple[Item, str | None]
"""A memory and its idempotency key."""


class Fate(StrEnum):
    """What became of a memory that was offered."""

    WRITTEN = "written"
    REPEATED = "deduplicated"
    FORGOTTEN = "forgotten"


# A statement of its own: the next one must see what was committed while this one waited.
_LOCK = "SELECT pg_advisory_xact_lock{}(hashtextextended(:drawer, 7526110002))"
_BESIDE_OTHERS, _ALONE = text(_LOCK.format("_shared")), text(_LOCK.format(""))
_WRITE = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:keys AS text[]), CAST(:values AS text[]), CAST(:abouts AS text[]), CAST(:tags AS text[]),
            CAST(:idempotency_keys AS text[]), CAST(:digests AS bytea[]), CAST(:coordinates AS bytea[]),
            CAST(:lexemes AS text[]), CAST(:texts AS text[]), CAST(:ttls AS double precision[])
        ) WITH ORDINALITY
        AS g (key, value, about, tags, idempotency_key, digest, coordinate, lexemes, said, ttl_seconds, number)
    ), forgotten AS MATERIALIZED (
        SELECT g.key FROM given g JOIN brain.forgotten f
          ON f.tenant = :tenant AND f.namespace = :namespace AND f.universe IN (:universe, '') AND f.key = g.key
         AND md5(f.idempotency_key) = md5(g.idempotency_key)
    ), begun_anew AS (
        DELETE FROM brain.forgotten f USING given g
        WHERE f.tenant = :tenant AND f.namespace = :namespace AND f.universe IN (:universe, '') AND f.key = g.key
          AND g.key NOT IN (SELECT key FROM forgotten)
    ), written AS (
        INSERT INTO brain.memories AS m (tenant, namespace, universe, key, value, about, tags, idempotency_key, digest,
                                         coordinate, words, expires_at)
        SELECT :tenant, :namespace, :universe, key, CAST(value AS jsonb), CAST(about AS jsonb), CAST(tags AS text[]),
               idempotency_key, digest, coordinate,
               array_to_tsvector(CAST(lexemes AS text[])) || strip(to_tsvector('english', said)),
               clock_timestamp() + make_interval(secs => ttl_seconds)
        FROM given WHERE key NOT IN (SELECT key FROM forgotten) ORDER BY number
        ON CONFLICT (tenant, namespace, universe, key) DO UPDATE
        SET value = excluded.value, about = excluded.about, tags = excluded.tags, words = excluded.words,
            idempotency_key = excluded.idempotency_key, digest = excluded.digest, expires_at = excluded.expires_at,
            written_at = excluded.written_at, writes = m.writes + 1
        WHERE m.idempotency_key IS NULL OR m.idempotency_key IS DISTINCT FROM excluded.idempotency_key
           OR m.digest <> excluded.digest OR m.expires_at <= clock_timestamp()
        RETURNING m.key
    )
    SELECT key, 'written' AS fate FROM written UNION ALL SELECT DISTINCT key, 'forgotten' FROM forgotten
""")
_DELETE = text("""
    WITH gone AS (
        DELETE FROM brain.memories
        WHERE tenant = :tenant AND namespace = :namespace
          AND universe = coalesce(CAST(:universe AS text), universe)
          AND key = coalesce(CAST(:key AS text), key)
          AND coordinate = coalesce(CAST(:coordinate AS bytea), coordinate)
        RETURNING tenant, namespace, universe, key
    ), unlinked AS (
        DELETE FROM brain.links l USING gone g
        WHERE l.tenant = g.tenant AND l.namespace = g.namespace AND l.universe = g.universe
          AND g.key IN (l.from_key, l.to_key)
    ), remembered_as_gone AS (
        INSERT INTO brain.forgotten AS f (tenant, namespace, universe, key, idempotency_key)
        SELECT tenant, namespace, universe, key, CAST(:idempotency_key AS text) FROM gone
        WHERE CAST(:idempotency_key AS text) IS NOT NULL
        UNION
        SELECT :tenant, :namespace, coalesce(CAST(:universe AS text), ''), CAST(:key AS text),
               CAST(:idempotency_key AS text)
        WHERE CAST(:key AS text) IS NOT NULL AND CAST(:idempotency_key AS text) IS NOT NULL
        ON CONFLICT (tenant, namespace, universe, key, md5(idempotency_key))
        DO UPDATE SET forgotten_at = excluded.forgotten_at
    )
    SELECT count(*) FROM gone
""")
# The same whether the memory came alone, with its place in the same object, or in a batch.
_ABOUT = set(Item.model_fields) - {"key", "value", "tags", "trace_id", "idempotency_key"}


def write(connection: Connection, place: Place, offered: Sequence[Offered]) -> list[Fate]:
    """Keep all of these, in one statement as long as no key occurs twice; for each what became of it."""
    connection.execute(_BESIDE_OTHERS, {"drawer": _drawer(place.tenant, place.namespace)})
    fates = [Fate.REPEATED] * len(offered)
    for wave in _waves(offered):
        rows = connection.execute(_WRITE, _parameters(place, [offered[index] for index in wave])).all()
        found = {row.key: Fate(row.fate) for row in rows}
        for index in wave:
            fates[index] = found.get(offered[index][0].key, Fate.REPEATED)
    return fates


def delete(connection: Connection, wish: Forget, idempotency_key: str | None) -> int:
    """Delete what matches everything that the wish names; where it names the write, too, that one cannot come late."""
    connection.execute(_ALONE, {"drawer": _drawer(wish.tenant, wish.namespace)})
    parameters = {
        "tenant": wish.tenant,
        "namespace": wish.namespace,
        "universe": wish.universe or None,
        "key": wish.key or wish.id,
        "coordinate": as_bytes(wish.coordinate) if wish.coordinate else None,
        "idempotency_key": idempotency_key,
    }
    return int(connection.execute(_DELETE, parameters).scalar_one())


def _waves(offered: Sequence[Offered]) -> Iterator[list[int]]:
    """Indexes so that no wave holds a key twice and later ones come later; in the order of keys, against deadlocks."""
    waves: list[list[int]] = []
    occurred: dict[str, int] = {}
    for index in sorted(range(len(offered)), key=lambda number: offered[number][0].key):
        key = offered[index][0].key
        nth = occurred.get(key, 0)
        occurred[key] = nth + 1
        if nth == len(waves):
            waves.append([])
        waves[nth].append(index)
    yield from waves


def _parameters(place: Place, offered: Sequence[Offered]) -> dict[str, Any]:
    here = place_lexeme(place.tenant, place.namespace, place.universe)
    rows = zip(*(_row(here, place.universe, *each) for each in offered), strict=True)
    names = (
        "keys",
        "values",
        "abouts",
        "tags",
        "idempotency_keys",
        "digests",
        "coordinates",
        "lexemes",
        "texts",
        "ttls",
    )
    columns = dict(zip(names, (list(column) for column in rows), strict=True))
    return {"tenant": place.tenant, "namespace": place.namespace, "universe": place.universe, **columns}


def _row(here: str, universe: str, item: Item, idempotency_key: str | None) -> tuple[object, ...]:
    """In the order of the names in `_parameters`."""
    about = item.model_dump(include=_ABOUT, exclude_none=True, exclude_defaults=True)
    words = words_of(text_of(item.value))
    return (
        item.key,
        _canonical(item.value),
        _canonical(about),
        _array(item.tags),
        idempotency_key,
        hashlib.blake2b(_canonical([item.value, about, item.tags]).encode(), digest_size=32).digest(),
        coordinate_bytes(universe, item.key),
        _array([here, *lexemes_of(words)]),
        " ".join(words),
        item.ttl_seconds,
    )


def _array(texts: Iterable[str]) -> str:
    """A Postgres array as text: an array of arrays would be one flat array to `unnest`."""
    return "{" + ",".join('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in texts) + "}"


def _drawer(tenant: str, namespace: str) -> str:
    return json.dumps([tenant, namespace])


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))

"""Memories in Postgres: written once per content, found again, deleted. Every method is one transaction.

A method that returns has committed. What it reports as kept is kept.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from app.brain.bodies import Forget, Item, Link
from app.brain.coordinates import as_bytes, coordinate_bytes
from app.brain.store import transaction
from app.brain.words import lexemes_of, place_lexeme, text_of, words_of
from app.domain.memory import Place

_WRITE = text("""
    INSERT INTO brain.memories AS m (tenant, namespace, universe, key, value, about, tags, idempotency_key, digest,
                                     coordinate, words, expires_at)
    VALUES (:tenant, :namespace, :universe, :key, CAST(:value AS jsonb), CAST(:about AS jsonb), :tags,
            :idempotency_key, :digest, :coordinate,
            array_to_tsvector(CAST(:lexemes AS text[])) || strip(to_tsvector('english', :text)),
            clock_timestamp() + make_interval(secs => :ttl_seconds))
    ON CONFLICT (tenant, namespace, universe, key) DO UPDATE
    SET value = excluded.value, about = excluded.about, tags = excluded.tags, words = excluded.words,
        idempotency_key = excluded.idempotency_key, digest = excluded.digest, expires_at = excluded.expires_at,
        written_at = excluded.written_at, writes = m.writes + 1
    WHERE m.idempotency_key IS NULL OR m.idempotency_key IS DISTINCT FROM excluded.idempotency_key
       OR m.digest <> excluded.digest OR m.expires_at <= clock_timestamp()
    RETURNING writes
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
    )
    SELECT count(*) FROM gone
""")
_LINK = text("""
    INSERT INTO brain.links (tenant, namespace, universe, from_key, to_key, type, weight)
    VALUES (:tenant, :namespace, :universe, :from_key, :to_key, :type, :weight)
    ON CONFLICT (tenant, namespace, universe, from_key, to_key, type)
    DO UPDATE SET weight = excluded.weight, written_at = clock_timestamp()
""")
_ALIVE = "(expires_at IS NULL OR expires_at > clock_timestamp())"
_LIST = text(f"""
    SELECT namespace, universe, key, writes, value, coordinate, created_at, written_at FROM brain.memories
    WHERE tenant = :tenant AND (namespace, universe, key) > (:after_namespace, :after_universe, :after_key)
      AND namespace = coalesce(CAST(:namespace AS text), namespace)
      AND universe = coalesce(CAST(:universe AS text), universe) AND {_ALIVE}
    ORDER BY namespace, universe, key LIMIT :limit
""")  # noqa: S608 - the only insertion is the constant above
_COUNT = text(f"""
    SELECT count(*) FROM brain.memories WHERE tenant = :tenant AND namespace = :namespace AND {_ALIVE}
""")  # noqa: S608
# The same whether the memory came alone, with its place in the same object, or in a batch.
_ABOUT = set(Item.model_fields) - {"key", "value", "tags", "trace_id", "idempotency_key"}
_PROBE = text("SELECT count(*) FROM (SELECT 1 FROM brain.memories LIMIT 1) one")


@dataclass(frozen=True, slots=True)
class Stored:
    """A memory as it stands; `writes` counts how often its content was really written."""

    place: Place
    key: str
    writes: int
    value: dict[str, Any]
    coordinate: bytes
    created_at: datetime
    written_at: datetime


class Memories:
    """All memories of all places; every query names its tenant."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, place: Place, items: Sequence[tuple[Item, str | None]]) -> list[bool]:
        """Keep all of these (item, idempotency key) or none; for each whether it was a repeat and left alone."""
        in_one_order = sorted(range(len(items)), key=lambda index: items[index][0].key)
        repeats = [False] * len(items)
        with transaction(self._engine) as connection:
            for index in in_one_order:
                repeats[index] = not _write(connection, place, *items[index])
        return repeats

    def forget(self, wish: Forget) -> int:
        """Delete what matches everything that the wish names; how many there were."""
        with transaction(self._engine) as connection:
            found = connection.execute(
                _DELETE,
                {
                    "tenant": wish.tenant,
                    "namespace": wish.namespace,
                    "universe": wish.universe or None,
                    "key": wish.key or wish.id,
                    "coordinate": as_bytes(wish.coordinate) if wish.coordinate else None,
                },
            )
            return int(found.scalar_one())

    def link(self, link: Link) -> None:
        """Remember that two memories belong together; a repeat replaces the weight."""
        with transaction(self._engine) as connection:
            connection.execute(_LINK, {**link.model_dump(exclude={"universe"}), "universe": link.world})

    def page(
        self, tenant: str, within: tuple[str | None, str | None], after: tuple[str, str, str], limit: int
    ) -> list[Stored]:
        """A tenant's memories after (namespace, universe, key) in that order; `within` narrows to a drawer, a world."""
        asked = {"tenant": tenant, "namespace": within[0], "universe": within[1], "limit": limit}
        cursor = dict(zip(("after_namespace", "after_universe", "after_key"), after, strict=True))
        with transaction(self._engine) as connection:
            rows = connection.execute(_LIST, {**asked, **cursor}).all()
        return [
            Stored(
                place=Place(tenant, row.namespace, row.universe),
                key=row.key,
                writes=row.writes,
                value=row.value,
                coordinate=bytes(row.coordinate),
                created_at=row.created_at,
                written_at=row.written_at,
            )
            for row in rows
        ]

    def count(self, tenant: str, namespace: str) -> int:
        """How many memories a drawer holds, over all its universes."""
        with transaction(self._engine) as connection:
            return int(connection.execute(_COUNT, {"tenant": tenant, "namespace": namespace}).scalar_one())

    def probe(self) -> None:
        """Returns where a memory could be read now."""
        with transaction(self._engine) as connection:
            connection.execute(_PROBE)


def _write(connection: Connection, place: Place, item: Item, idempotency_key: str | None) -> bool:
    about = item.model_dump(include=_ABOUT, exclude_none=True, exclude_defaults=True)
    words = words_of(text_of(item.value))
    parameters = {
        "tenant": place.tenant,
        "namespace": place.namespace,
        "universe": place.universe,
        "key": item.key,
        "value": _canonical(item.value),
        "about": _canonical(about),
        "tags": item.tags,
        "idempotency_key": idempotency_key,
        "digest": hashlib.blake2b(_canonical([item.value, about, item.tags]).encode(), digest_size=32).digest(),
        "coordinate": coordinate_bytes(place.universe, item.key),
        "lexemes": [place_lexeme(place.tenant, place.namespace, place.universe), *lexemes_of(words)],
        "text": " ".join(words),
        "ttl_seconds": item.ttl_seconds,
    }
    return connection.execute(_WRITE, parameters).first() is not None


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))

"""Memories in Postgres: written once per content, found again, deleted. Every method is one transaction.

A method that returns has committed. What it reports as kept is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from app.brain import writing
from app.brain.bodies import Forget, Link
from app.brain.store import transaction
from app.brain.writing import Fate, Offered
from app.domain.memory import Place

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

    def write(self, place: Place, offered: Sequence[Offered]) -> list[Fate]:
        """Keep all of these or none; for each whether it was written, a repeat and left alone, or deleted before."""
        with transaction(self._engine) as connection:
            return writing.write(connection, place, offered)

    def forget(self, wish: Forget, idempotency_key: str | None = None) -> int:
        """Delete what matches everything that the wish names; how many there were.

        Where an idempotency key is named, a write of the key with it that arrives later keeps nothing.
        """
        with transaction(self._engine) as connection:
            return writing.delete(connection, wish, idempotency_key)

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

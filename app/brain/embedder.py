"""Gives memories their vectors after they were kept: the newest first, a few at a time.

A memory without a vector of its present content is owed one; that is all there is to know, so a kill at any moment
costs a few texts. What was written lately is looked at first, every time; then, once, everything else, from the newest
to the oldest, a stretch at a time, remembering how far we are. Being one of several embedders costs time, not truth.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from app.brain.embeddings import NoModel, NoVector, PassageModel, as_text
from app.brain.words import text_of
from app.telemetry.metrics import BRAIN_EMBEDDED

_AT_ONCE = 8
# No write is under way for longer: what is older than this has been seen once nothing newer was owed.
_LONGEST_WRITE = timedelta(seconds=30)
_FROM_THE_BEGINNING_SECONDS = 3_600
_STRETCH = 5_000
_FOREVER, _ALWAYS = "infinity", "-infinity"

_PLAN = text("""
    SELECT set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false)
""")
_CLOCK = text("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
# As the index has it that serves only us.
_WRITTEN = "(m.written_at AT TIME ZONE 'UTC')"
_OWED = text(f"""
    SELECT m.tenant, m.namespace, m.universe, m.key, m.value, m.digest, {_WRITTEN} AS written
    FROM brain.memories m LEFT JOIN brain.embeddings e USING (tenant, namespace, universe, key)
    WHERE {_WRITTEN} > CAST(:after AS timestamp) AND {_WRITTEN} <= CAST(:until AS timestamp)
      AND (e.digest IS NULL OR e.digest <> m.digest)
    ORDER BY {_WRITTEN} DESC LIMIT :limit
""")  # noqa: S608 - the only insertion is the constant above
_STRETCH_ENDS = text(f"""
    SELECT {_WRITTEN} FROM brain.memories m WHERE {_WRITTEN} <= CAST(:until AS timestamp)
    ORDER BY {_WRITTEN} DESC OFFSET :rows LIMIT 1
""")  # noqa: S608
# Only where the memory still says what was embedded; locked, so that it cannot go away before its vector is there.
_STORE = text("""
    INSERT INTO brain.embeddings (tenant, namespace, universe, key, digest, embedding)
    SELECT m.tenant, m.namespace, m.universe, m.key, m.digest, CAST(g.embedding AS halfvec)
    FROM unnest(CAST(:tenants AS text[]), CAST(:namespaces AS text[]), CAST(:universes AS text[]),
                CAST(:keys AS text[]), CAST(:digests AS bytea[]), CAST(:embeddings AS text[]))
         AS g (tenant, namespace, universe, key, digest, embedding)
    JOIN brain.memories m USING (tenant, namespace, universe, key)
    WHERE m.digest = g.digest
    FOR KEY SHARE OF m
    ON CONFLICT (tenant, namespace, universe, key)
    DO UPDATE SET digest = excluded.digest, embedding = excluded.embedding, embedded_at = clock_timestamp()
""")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Walk:
    """`lately` is where the news begin; `down_to` is how far back everything was looked at, None when all was."""

    lately: datetime
    down_to: datetime | str | None = _FOREVER
    began: float = 0.0


class Embedder:
    """Works on the connection that it is given, which commits every statement by itself."""

    def __init__(self, model: PassageModel) -> None:
        self._model = model
        self._walk: _Walk | None = None

    def begin(self, connection: Connection) -> None:
        """Once per connection: forget how far we were."""
        connection.execute(_PLAN)
        self._walk = None

    def catch_up(self, connection: Connection) -> int:
        """Give the next few memories their vectors; how many there were. Raises `NoModel`."""
        owed = self._next(connection)
        if not owed:
            return 0
        vectors = self._vectors(owed)
        columns = ("tenant", "namespace", "universe", "key", "digest")
        parameters = {f"{name}s": [getattr(row, name) for row in owed] for name in columns}
        parameters["digests"] = [bytes(row.digest) for row in owed]
        connection.execute(_STORE, {**parameters, "embeddings": vectors})
        BRAIN_EMBEDDED.inc(len(owed))
        return len(owed)

    def _next(self, connection: Connection) -> Sequence[Row[Any]]:
        walk = self._walking(connection)
        now = connection.execute(_CLOCK).scalar_one()
        news = _owed(connection, walk.lately, _FOREVER)
        walk.lately = now - _LONGEST_WRITE
        if len(news) == _AT_ONCE:
            walk.down_to = _FOREVER
        return news or _farther(connection, walk)

    def _walking(self, connection: Connection) -> _Walk:
        """The walk under way; a new one now and then, should anything ever have slipped through."""
        walk = self._walk
        if walk is None or (walk.down_to is None and time.monotonic() > walk.began + _FROM_THE_BEGINNING_SECONDS):
            now: datetime = connection.execute(_CLOCK).scalar_one()
            walk = self._walk = _Walk(now - _LONGEST_WRITE, began=time.monotonic())
        return walk

    def _vectors(self, owed: Sequence[Row[Any]]) -> list[str | None]:
        try:
            return [self._vector(row.value) for row in owed]
        except NoModel:
            self._walk = None
            raise

    def _vector(self, value: dict[str, Any]) -> str | None:
        said = text_of(value).strip()
        if not said:
            return None
        try:
            return as_text(self._model.passage(said))
        except NoModel:
            raise
        except NoVector as error:
            _log.warning("a memory stays without a vector: %s", error)
            return None


def _farther(connection: Connection, walk: _Walk) -> Sequence[Row[Any]]:
    """The next that are owed on the way down; none when all were looked at."""
    while walk.down_to is not None:
        ends_at = connection.execute(_STRETCH_ENDS, {"until": walk.down_to, "rows": _STRETCH}).scalar()
        if ends_at == walk.down_to:
            ends_at = None
        owed = _owed(connection, ends_at or _ALWAYS, walk.down_to)
        walk.down_to = owed[-1].written if len(owed) == _AT_ONCE else ends_at
        if owed:
            return owed
    return []


def _owed(connection: Connection, after: datetime | str, until: datetime | str) -> Sequence[Row[Any]]:
    return connection.execute(_OWED, {"after": after, "until": until, "limit": _AT_ONCE}).all()

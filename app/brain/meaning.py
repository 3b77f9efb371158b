"""Whether recall works by meaning here, and the search itself; without it words have to do, and health says why."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Engine, text

from app.brain.bodies import Recall
from app.brain.embeddings import NoVector, QuestionModel, Vector, as_text
from app.brain.found import Found
from app.brain.questions import PATIENCE_SECONDS, Questions
from app.brain.store import transaction
from app.brain.vector_search import by_meaning
from app.domain.errors import StoreUnavailable
from app.telemetry.metrics import BRAIN_EMBEDDINGS_OWED

_LOOK_AGAIN_SECONDS = 30.0
_COUNT_AGAIN_SECONDS = 10.0
_LOOK = text("""
    SELECT to_regclass('brain.embeddings') IS NOT NULL AS there,
           (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS version
""")
OWED = text("""
    SELECT greatest((SELECT count(*) FROM brain.memories) - (SELECT count(*) FROM brain.embeddings), 0)
""")


@dataclass(frozen=True, slots=True)
class Condition:
    """`status` is ok, off or degraded; `pending` memories have no vector yet."""

    status: str
    detail: str = ""
    pending: int | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Postgres offers, and until when we believe it."""

    version: tuple[int, ...] = ()
    until: float = 0.0


class Meaning:
    """Recall by meaning; `model` is None where it is switched off or not installed, and `why_not` says which."""

    def __init__(
        self,
        engine: Engine,
        model: QuestionModel | None,
        why_not: Condition,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._engine = engine
        self._model = model
        self._why_not = why_not
        self._questions = Questions(model, patience_seconds) if model else None
        self._seen = _Seen()
        self._counted: int | None = None
        self._count_again_at = 0.0
        self._lock = threading.Lock()

    def ask(self, query: str) -> "Future[Vector] | None":
        """Begin to work out what the query means; None where recall works by words only."""
        return self._questions.ask(query) if self._questions and self._vector_version() else None

    def find(self, asked: Recall, question: "Future[Vector] | None", limit: int) -> tuple[list[Found], tuple[str, ...]]:
        """The memories nearest in meaning, and why there are none where there should be some."""
        if question is None or self._questions is None:
            return [], ()
        try:
            vector = as_text(self._questions.answer(question))
            goes_on = self._vector_version() >= (0, 8)
            with transaction(self._engine) as connection:
                return by_meaning(connection, asked, vector, limit, goes_on), ()
        except (NoVector, StoreUnavailable) as error:
            self._seen = _Seen()
            return [], (f"by words only: {error}",)

    def condition(self) -> Condition:
        """How it is now; `pending` is what was counted a while ago."""
        if self._model is None:
            return self._why_not
        if not self._vector_version():
            return Condition(
                "degraded", "Postgres has no extension vector (0.7 or newer) for us; recall works by words"
            )
        pending = self._pending()
        if self._model.trouble:
            return Condition("degraded", f"{self._model.trouble}; recall works by words", pending)
        return Condition("ok", pending=pending)

    def _vector_version(self) -> tuple[int, ...]:
        """Of the extension, empty where there is no table for vectors."""
        if time.monotonic() < self._seen.until:
            return self._seen.version
        with transaction(self._engine) as connection:
            row = connection.execute(_LOOK).one()
        version = tuple(int(part) for part in row.version.split(".")[:2]) if row.there and row.version else ()
        self._seen = _Seen(version, time.monotonic() + _LOOK_AGAIN_SECONDS)
        return version

    def _pending(self) -> int | None:
        """Counted again after a while that grows with the time that counting takes; None where it takes too long."""
        with self._lock:
            if time.monotonic() >= self._count_again_at:
                began = time.monotonic()
                self._counted = self._count()
                ended = time.monotonic()
                self._count_again_at = ended + max(_COUNT_AGAIN_SECONDS, 100 * (ended - began))
            return self._counted

    def _count(self) -> int | None:
        try:
            with transaction(self._engine) as connection:
                pending = int(connection.execute(OWED).scalar_one())
        except StoreUnavailable:
            return None
        BRAIN_EMBEDDINGS_OWED.set(pending)
        return pending

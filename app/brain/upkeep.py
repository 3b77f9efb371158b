"""What the memory service does while nobody asks: vectors for new memories, an end for old tombstones.

One thread in every worker process; an advisory lock lets one of them work, whatever machine it runs on. The lock lives
as long as the connection on which the work is done. The model's own work is done elsewhere (`aside.py`).
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from app.adapters.sql.engine import create_engine, translating
from app.adapters.sql.patience import Patience
from app.brain.embedder import Embedder
from app.brain.embeddings import NoModel, PassageModel
from app.brain.meaning import OWED
from app.brain.store import set_up
from app.domain.errors import Rejected, StoreUnavailable
from app.telemetry.metrics import BRAIN_EMBEDDINGS_OWED

_LOCK = text("SELECT pg_try_advisory_lock(7526110003)")
_PREPARE = text("SELECT brain.prepare_embeddings()")
_PRUNE = text("DELETE FROM brain.forgotten WHERE forgotten_at < clock_timestamp() - interval '30 days'")
_TAKE_TIME = text("SELECT set_config('statement_timeout', '60s', false)")
_PATIENCE = Patience(silence_seconds=65.0)
_IDLE_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 5.0
_NO_MODEL_SECONDS = 60.0
_COUNT_SECONDS = 30.0
_PREPARE_SECONDS = 60.0
_PRUNE_SECONDS = 3_600.0

_log = logging.getLogger(__name__)


class Upkeep:
    """`start` it in a process that serves, after the fork; `model` is None where memories get no vectors."""

    def __init__(self, dsn: str, model: PassageModel | None) -> None:
        self._engine = create_engine(dsn, 1, "brain-upkeep", _PATIENCE)
        self._model = model
        self._embedder = Embedder(model) if model else None
        self._due: dict[str, float] = {}
        self._has_table = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._live, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin; it goes on through every outage of Postgres."""
        self._thread.start()

    def stop(self) -> None:
        """End after the text in hand, so that somebody else may go on."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        self.close()

    def once(self) -> int:
        """Do everything that is due, unless somebody else is at it; how many memories got their vectors."""
        done = 0
        with self._alone() as connection:
            while connection is not None and (embedded := self._round(connection)):
                done += embedded
        return done

    def close(self) -> None:
        """Give back the connection and the model."""
        self._engine.dispose()
        if self._model is not None:
            self._model.close()

    def _live(self) -> None:
        while not self._stopped.is_set():
            try:
                self._work()
            except (StoreUnavailable, Rejected, SQLAlchemyError) as error:
                _log.warning("the memory service's upkeep was interrupted and goes on soon: %s", type(error).__name__)
            self._stopped.wait(_TRY_AGAIN_SECONDS)

    def _work(self) -> None:
        with self._alone() as connection:
            while connection is not None and not self._stopped.is_set():
                self._stopped.wait(0 if self._round(connection) else _IDLE_SECONDS)

    @contextmanager
    def _alone(self) -> Iterator[Connection | None]:
        """A connection that holds the lock, or None where somebody else does."""
        self._due.clear()
        with set_up(), translating(), self._engine.connect() as raw:
            connection = raw.execution_options(isolation_level="AUTOCOMMIT")
            try:
                connection.execute(_TAKE_TIME)
                locked = connection.execute(_LOCK).scalar_one()
                if locked and self._embedder:
                    self._embedder.begin(connection)
                yield connection if locked else None
            finally:
                raw.invalidate()

    def _round(self, connection: Connection) -> int:
        """How many memories got their vectors; none when all have theirs."""
        if self._is_due("prune", _PRUNE_SECONDS):
            connection.execute(_PRUNE)
        if self._embedder is None or not self._prepared(connection) or self._rests():
            return 0
        if self._is_due("count", _COUNT_SECONDS):
            BRAIN_EMBEDDINGS_OWED.set(connection.execute(OWED).scalar_one())
        try:
            return self._embedder.catch_up(connection)
        except NoModel as error:
            _log.error("memories get no vectors: %s", error)
            self._due["rest"] = time.monotonic() + _NO_MODEL_SECONDS
            return 0

    def _prepared(self, connection: Connection) -> bool:
        """Whether there is a table for vectors, made now where Postgres has come to offer the extension."""
        if self._is_due("prepare", _PREPARE_SECONDS):
            self._has_table = bool(connection.execute(_PREPARE).scalar_one())
        return self._has_table

    def _rests(self) -> bool:
        return time.monotonic() < self._due.get("rest", 0.0)

    def _is_due(self, what: str, seconds: float) -> bool:
        """True the first time, and again whenever so long has passed."""
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + seconds
        return True

"""What every process of ours has: a pool, a presence, a doorbell, a voice."""

import time
from datetime import UTC, datetime
from functools import cached_property, lru_cache

from sqlalchemy import Engine

from app.adapters.celery_clock import SteadyCelery
from app.adapters.celery_doorbell import CeleryDoorbell
from app.adapters.redis.live import RedisBroadcast
from app.adapters.sql.engine import create_engine
from app.adapters.sql.inbox import MemoryDefaults
from app.adapters.sql.patience import WORKING, Patience
from app.adapters.sql.presence import Holder, Presence
from app.adapters.sql.spending import SqlSpending
from app.adapters.sql.upkeep import SqlUpkeep
from app.services.health_notes import QuietNotes
from app.services.know_schema import wait_for_schema
from app.settings import Settings, settings


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Process:
    """One process's share of the system. Its name is what logs, leases and health show."""

    patience: Patience = WORKING

    def __init__(self, settings: Settings, pool_size: int = 10) -> None:
        settings.require("postgres_dsn", "redis_url")
        self.settings = settings
        self.name = settings.process_name or "soma"
        self.clock = SystemClock()
        self._pool_size = pool_size

    @cached_property
    def engine(self) -> Engine:
        """The pool of this process."""
        return create_engine(self.settings.postgres_dsn.get_secret_value(), self._pool_size, self.name, self.patience)

    @cached_property
    def presence(self) -> Holder:
        """This process's heartbeat and advisory lock, on a connection of their own; already beating."""
        engine = create_engine(self.settings.postgres_dsn.get_secret_value(), 1, f"{self.name} presence")
        presence = Presence(engine, self.name, self.settings.lease_seconds)
        presence.start()
        return presence

    @cached_property
    def doorbell(self) -> CeleryDoorbell:
        """Rings by name; knows no task's code."""
        app = SteadyCelery("doorbell", set_as_current=False)
        app.config_from_object("celeryconfig")
        return CeleryDoorbell(app, self.settings.redis_url.get_secret_value())

    @cached_property
    def broadcast(self) -> RedisBroadcast:
        """Shows live items."""
        return RedisBroadcast(self.settings.redis_url.get_secret_value())

    @cached_property
    def upkeep(self) -> SqlUpkeep:
        """Measures, notes, sweeps, pruning."""
        return SqlUpkeep(self.engine)

    @cached_property
    def spending(self) -> SqlSpending:
        """The budgets that calls of models go on."""
        return SqlSpending(self.engine, self.settings.budget_limit_tokens or None)

    @cached_property
    def notes(self) -> QuietNotes:
        """Where this process notes how its dependencies are."""
        return QuietNotes(self.upkeep, self.clock)

    @property
    def memory_defaults(self) -> MemoryDefaults | None:
        """Where memories go that name no place; None while memories are switched off."""
        if not self.settings.gateway_write_through:
            return None
        return MemoryDefaults(self.settings.soma_namespace, self.settings.soma_memory_namespace)

    def check_schema(self) -> None:
        """Refuse to run on a schema of another version; `Misconfigured` says which command to run."""
        wait_for_schema(self.upkeep.revision)


@lru_cache(maxsize=1)
def this_process() -> Process:
    """This process, from its environment."""
    return Process(settings(), pool_size_of(settings()))


def pool_size_of(settings: Settings) -> int:
    """Connections for a worker's threads. While they listen to a model they hold none, so a few serve many."""
    return 10 + settings.conversation_concurrency // 10

"""Builds the adapters once per process and hands services what they need; the only file that names them all.

Everything is built on first use, so a process that forks before it works shares no socket with its children.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, lru_cache

from celery import Celery
from sqlalchemy import Engine

from app.adapters.celery_doorbell import CeleryDoorbell
from app.adapters.http.brain import HttpBrain
from app.adapters.http.model import OpenAIModel
from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.reader import KafkaWalReader
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.redis.connection import ping
from app.adapters.redis.live import RedisBroadcast, RedisFeed
from app.adapters.sql.browse import SqlBrowser
from app.adapters.sql.engine import create_engine
from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.adapters.sql.outboxes import SqlMemoryOutbox, SqlMessageOutbox
from app.adapters.sql.presence import Presence
from app.adapters.sql.replica import SqlReplica
from app.adapters.sql.stream_store import SqlStreamStore
from app.adapters.sql.turns import SqlTurns
from app.adapters.sql.upkeep import SqlUpkeep
from app.services.accept_message import Reception
from app.services.converse import Conversation, ModelWindow
from app.services.drain_outbox import RecordPlane
from app.services.follow_session import StreamRoom
from app.services.health_notes import QuietNotes
from app.services.know_schema import wait_for_schema
from app.services.replicate_wal import Bridge
from app.services.sync_memories import MemoryPlane
from app.settings import Settings, settings


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


class Wiring:
    """One process's adapters and planes. `name` is the process, as logs, leases and health show it."""

    def __init__(self, settings: Settings, pool_size: int = 10) -> None:
        settings.require("postgres_dsn", "redis_url")
        self.settings = settings
        self.name = settings.process_name or "soma"
        self.clock = SystemClock()
        self._pool_size = pool_size

    @cached_property
    def engine(self) -> Engine:
        """The pool of this process."""
        return create_engine(self.settings.postgres_dsn.get_secret_value(), self._pool_size, self.name)

    @cached_property
    def presence(self) -> Presence:
        """This process's heartbeat and advisory lock, on connections of their own; already beating."""
        engine = create_engine(self.settings.postgres_dsn.get_secret_value(), 1, f"{self.name} presence")
        presence = Presence(engine, self.name, self.settings.lease_seconds)
        presence.start()
        return presence

    @cached_property
    def doorbell(self) -> CeleryDoorbell:
        """Rings by name; knows no task's code."""
        app = Celery("doorbell", set_as_current=False)
        app.config_from_object("celeryconfig")
        return CeleryDoorbell(app)

    @cached_property
    def broadcast(self) -> RedisBroadcast:
        """Shows live items."""
        return RedisBroadcast(self.settings.redis_url.get_secret_value())

    @cached_property
    def brain(self) -> HttpBrain:
        """The SomaBrain client with this process's breaker."""
        return HttpBrain.from_settings(self.settings)

    @cached_property
    def upkeep(self) -> SqlUpkeep:
        """Measures, notes, sweeps, pruning."""
        return SqlUpkeep(self.engine)

    @cached_property
    def notes(self) -> QuietNotes:
        """Where this process notes how its dependencies are."""
        return QuietNotes(self.upkeep, self.clock)

    @cached_property
    def browser(self) -> SqlBrowser:
        """Lists for people."""
        return SqlBrowser(self.engine)

    @cached_property
    def reception(self) -> Reception:
        """What accepting messages needs."""
        return Reception(SqlInbox(self.engine, self._memory_defaults), self.doorbell, self.broadcast)

    @property
    def _memory_defaults(self) -> MemoryDefaults | None:
        if not self.settings.gateway_write_through:
            return None
        return MemoryDefaults(self.settings.soma_namespace, self.settings.soma_memory_namespace)

    @cached_property
    def stream_room(self) -> StreamRoom:
        """What following sessions needs; one Redis subscription for all readers of this process."""
        feed = RedisFeed(self.settings.redis_url.get_secret_value())
        return StreamRoom(SqlStreamStore(self.engine), feed, self.clock)

    @cached_property
    def turns(self) -> SqlTurns:
        """Turns under this process's leases."""
        return SqlTurns(self.engine, self.presence, self.settings.lease_seconds)

    @cached_property
    def conversation(self) -> Conversation:
        """What turns need."""
        defaults = self._memory_defaults
        return Conversation(
            turns=self.turns,
            model=OpenAIModel(self.settings),
            broadcast=self.broadcast,
            doorbell=self.doorbell,
            clock=self.clock,
            notes=self.notes,
            window=ModelWindow(
                self.settings.system_prompt, self.settings.llm_context_tokens, self.settings.llm_max_output_tokens
            ),
            memories=(defaults.universe, defaults.namespace) if defaults else None,
        )

    @cached_property
    def memory_plane(self) -> MemoryPlane:
        """What delivering memories needs."""
        owner, lease = self.presence.owner, self.settings.lease_seconds
        return MemoryPlane(
            outbox=SqlMemoryOutbox(self.engine, owner, lease, self.settings.memory_wal_topic),
            brain=self.brain,
            doorbell=self.doorbell,
            broadcast=self.broadcast,
            clock=self.clock,
            batch=self.settings.memory_sync_batch_size,
            slice_seconds=lease / 3,
        )

    @cached_property
    def record_plane(self) -> RecordPlane:
        """What draining to Kafka needs."""
        self.settings.require("kafka_bootstrap_servers")
        return RecordPlane(
            outbox=SqlMessageOutbox(self.engine, self.presence.owner, self.settings.lease_seconds),
            wal=KafkaWalWriter(connection_options(self.settings)),
            doorbell=self.doorbell,
            notes=self.notes,
            batch=self.settings.outbox_sync_batch_size,
        )

    def bridge(self, replicated: Callable[[int, int, int, float], None]) -> Bridge:
        """What replicating needs; `replicated` counts."""
        self.settings.require("kafka_bootstrap_servers")
        replica = SqlReplica(self.engine)
        reader = KafkaWalReader(
            connection_options(self.settings),
            self.settings.memory_wal_topic,
            self.settings.memory_replicator_group,
            replica.next_offset,
        )
        return Bridge(
            reader=reader,
            replica=replica,
            broadcast=self.broadcast,
            clock=self.clock,
            notes=self.notes,
            replicated=replicated,
            slice_seconds=self.settings.replicator_slice_seconds,
            batch=self.settings.replicator_batch_size,
        )

    def check_schema(self) -> None:
        """Refuse to run on a schema of another version; `Misconfigured` says which command to run."""
        wait_for_schema(self.upkeep.revision)

    def redis_answers(self) -> bool:
        """Whether Redis answers, within a second."""
        return ping(self.settings.redis_url.get_secret_value())


@lru_cache(maxsize=1)
def wiring() -> Wiring:
    """This process's wiring, from its environment."""
    return Wiring(settings())

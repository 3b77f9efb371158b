"""What rebuilding needs: the log from its beginning into the replica's successor, and that into a SomaBrain."""

from collections.abc import Callable

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.history import KafkaWalHistory
from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import Patience
from app.adapters.sql.rebuilds import COMPARE_SECONDS, SqlRebuilds
from app.adapters.sql.rebuilt_memories import SqlRebuiltMemories
from app.domain.brain_ports import Brain
from app.services.rebuild_brain import Remembering
from app.services.rebuild_replica import Rebuilding
from app.wiring.process import Process

_COMPARING = Patience(silence_seconds=COMPARE_SECONDS + 1)


def rebuilding_of(process: Process, stopping: Callable[[], bool]) -> Rebuilding:
    """On a consumer of its own, and on a connection of its own for what reads whole tables."""
    settings = process.settings
    settings.require("kafka_bootstrap_servers")
    patient = create_engine(settings.postgres_dsn.get_secret_value(), 1, f"{process.name} rebuild", _COMPARING)
    return Rebuilding(
        history=KafkaWalHistory(connection_options(settings), settings.memory_wal_topic),
        store=SqlRebuilds(process.engine, patient, settings.memory_wal_topic),
        clock=process.clock,
        doorbell=process.doorbell,
        batch=settings.replicator_batch_size,
        stopping=stopping,
    )


def remembering_of(process: Process, brain: Brain, stopping: Callable[[], bool]) -> Remembering:
    """With the client that this process has for SomaBrain, so that both look at one breaker."""
    return Remembering(
        memories=SqlRebuiltMemories(process.engine),
        brain=brain,
        clock=process.clock,
        batch=process.settings.memory_sync_batch_size,
        stopping=stopping,
    )

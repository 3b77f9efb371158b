"""What a replicator slot needs."""

from collections.abc import Callable

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.reader import KafkaWalReader
from app.adapters.sql.replica import SqlReplica
from app.crash_points import CrashStep
from app.services.replicate_wal import Bridge
from app.wiring.crashing import ends_after
from app.wiring.process import Process


def bridge_of(
    process: Process,
    replicated: Callable[[int, int, int, float], None],
    stopping: Callable[[], bool],
    yielding: Callable[[], bool] = lambda: False,
) -> Bridge:
    """The way from the log into the replica; `replicated` counts (fresh, duplicate, dead, lag in seconds)."""
    settings = process.settings
    settings.require("kafka_bootstrap_servers")
    replica = SqlReplica(process.engine)
    reader = KafkaWalReader(
        connection_options(settings), settings.memory_wal_topic, settings.memory_replicator_group, replica.take
    )
    return Bridge(
        reader=ends_after(reader, CrashStep.KAFKA_COMMIT, settings, "commit"),
        replica=ends_after(replica, CrashStep.REPLICA_COMMIT, settings, "store"),
        broadcast=process.broadcast,
        clock=process.clock,
        notes=process.notes,
        replicated=replicated,
        stopping=stopping,
        yielding=yielding,
        slice_seconds=settings.replicator_slice_seconds,
        batch=settings.replicator_batch_size,
    )

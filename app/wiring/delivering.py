"""What the delivery worker needs: memories to SomaBrain, records to Kafka, and the upkeep of both."""

from functools import lru_cache

from app.adapters.http.brain import HttpBrain
from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.sql.outboxes import SqlMessageOutbox
from app.adapters.sql.tool_calls import SqlToolCalls
from app.adapters.sql.turns import SqlTurns
from app.crash_points import CrashStep
from app.services.drain_outbox import RecordPlane
from app.services.sync_memories import MemoryPlane
from app.wiring.crashing import ends_after
from app.wiring.process import Process, this_process
from app.wiring.remembering import memory_plane_of
from app.wiring.tooling import tool_calls_of


def record_plane_of(process: Process) -> RecordPlane:
    """The way of records to Kafka."""
    settings = process.settings
    settings.require("kafka_bootstrap_servers")
    outbox = SqlMessageOutbox(process.engine, process.presence, settings.lease_seconds)
    return RecordPlane(
        outbox=ends_after(outbox, CrashStep.MARK_SENT, settings, "sent"),
        wal=ends_after(KafkaWalWriter(connection_options(settings)), CrashStep.PUBLISH, settings, "publish"),
        doorbell=process.doorbell,
        notes=process.notes,
        batch=settings.outbox_sync_batch_size,
    )


@lru_cache(maxsize=1)
def memory_plane() -> MemoryPlane:
    """This process's way to SomaBrain."""
    process = this_process()
    brain = HttpBrain.from_settings(process.settings)
    return memory_plane_of(process, brain, process.settings.lease_seconds / 3)


@lru_cache(maxsize=1)
def record_plane() -> RecordPlane:
    """This process's way to Kafka."""
    return record_plane_of(this_process())


@lru_cache(maxsize=1)
def tool_calls() -> SqlToolCalls:
    """The tool calls, for the sweep."""
    return tool_calls_of(this_process())


@lru_cache(maxsize=1)
def turns() -> SqlTurns:
    """The turns, for the sweep."""
    process = this_process()
    return SqlTurns(process.engine, process.presence, process.settings.lease_seconds)

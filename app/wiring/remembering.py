"""The way of memories to SomaBrain, for the process that delivers them and for the one that keeps them."""

from app.adapters.http.brain import HttpBrain
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.outboxes import SqlMemoryOutbox
from app.adapters.sql.recall_search import SqlMemorySearch
from app.crash_points import CrashStep
from app.domain.ramp import Ramp
from app.services.recall_memories import Recall
from app.services.sync_memories import MemoryPlane, Pace
from app.wiring.crashing import ends_after
from app.wiring.process import Process


def ledger_of(process: Process) -> SqlLedger:
    """Every memory that was ever accepted; nobody else sends a new one before its first attempt must be over."""
    settings = process.settings
    return SqlLedger(process.engine, settings.memory_wal_topic, settings.soma_timeout_seconds + 1)


def recall_of(process: Process, brain: HttpBrain, seconds: float) -> Recall:
    """What recalling needs; SomaBrain is waited for so long."""
    return Recall(brain, SqlMemorySearch(process.engine), ledger_of(process), seconds)


def memory_plane_of(process: Process, brain: HttpBrain, seconds: float) -> MemoryPlane:
    """On this process's connections and leases; one round takes about so many seconds at most."""
    settings = process.settings
    outbox = SqlMemoryOutbox(process.engine, process.presence, settings.lease_seconds, settings.memory_wal_topic)
    return MemoryPlane(
        outbox=ends_after(outbox, CrashStep.MARK_SYNCED, settings, "synced"),
        brain=ends_after(brain, CrashStep.REMEMBER, settings, "remember", "remember_all"),
        doorbell=process.doorbell,
        broadcast=process.broadcast,
        clock=process.clock,
        pace=Pace(Ramp(full=settings.memory_sync_batch_size)),
        slice_seconds=seconds,
    )

"""What proving needs that nothing is missing: SomaBrain, the log, and the books between them."""

from collections.abc import Callable
from functools import lru_cache, partial

from app.adapters.http.brain import HttpBrain
from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.history import KafkaWalScan
from app.adapters.sql.proof_books import SqlProofBooks
from app.adapters.sql.proof_desk import SqlProofDesk
from app.adapters.sql.proof_repair import SqlProofRepair
from app.services.prove_memories import Proving
from app.services.repair_memories import Repairing, repair_next
from app.wiring.process import Process, this_process


def proof_desk_of(process: Process) -> SqlProofDesk:
    """The proofs that were asked for; Postgres is enough for it."""
    settings = process.settings
    return SqlProofDesk(process.engine, process.presence, settings.lease_seconds, settings.memory_wal_topic)


@lru_cache(maxsize=1)
def proof_desk() -> SqlProofDesk:
    """This process's."""
    return proof_desk_of(this_process())


def proving_of(process: Process, stopping: Callable[[], bool]) -> Proving:
    """On this process's connections and leases."""
    settings = process.settings
    settings.require("kafka_bootstrap_servers")
    topic = settings.memory_wal_topic
    desk = proof_desk_of(process)
    wal = KafkaWalScan(connection_options(settings), topic)
    brain = HttpBrain.from_settings(settings)
    repair = SqlProofRepair(process.engine, topic, settings.soma_timeout_seconds + 1)
    return Proving(
        desk=desk,
        books=SqlProofBooks(process.engine, topic),
        wal=wal,
        brain=brain,
        repair=partial(repair_next, Repairing(desk, repair, wal, brain, process.clock, topic)),
        clock=process.clock,
        doorbell=process.doorbell,
        stopping=stopping,
    )


@lru_cache(maxsize=1)
def proving(stopping: Callable[[], bool]) -> Proving:
    """This process's."""
    return proving_of(this_process(), stopping)

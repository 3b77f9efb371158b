"""The map of the system on one page: which queues, tasks, topics and processes exist, and who serves what.

Nothing here does anything. `celeryconfig.py`, `devstack/`, `docker-compose.yml` and the gateway's doorbell all take
their names from this page, and a test in `tests/architecture` holds them to it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Queue(StrEnum):
    """The Redis queues; each is consumed by exactly one kind of worker."""

    CONVERSATION = "conversation"
    TOOLS = "tools"
    MEMORY_SYNC = "memory_sync"
    OUTBOX = "outbox"
    REPLICATOR = "replicator"
    MAINTENANCE = "maintenance"


class TaskName(StrEnum):
    """Stable task names: they travel between versions, so they never follow a module's name."""

    RESPOND = "conversation.respond"
    SUMMARIZE = "conversation.summarize"
    EXECUTE_TOOL = "tools.execute"
    SYNC_MEMORIES = "memory.sync"
    DRAIN_OUTBOX = "outbox.drain"
    REPLICATE_WAL = "wal.replicate"
    REBUILD_WAL = "wal.rebuild"
    REBUILD_BRAIN = "brain.rebuild"
    SWEEP = "work.sweep"
    PROBE_BRAIN = "brain.probe"
    MEASURE_DLQ = "dlq.measure"
    PRUNE = "retention.prune"
    EXPORT = "exports.run"
    RECONCILE = "memory.reconcile"
    RUN_SCHEDULES = "schedules.run"
    DELIVER_WEBHOOKS = "webhooks.deliver"


class Topic(StrEnum):
    """Default Kafka topics (`MEMORY_WAL_TOPIC` renames the first; `dead_letter_topic` the second)."""

    MEMORY_WAL = "memory.wal"
    MEMORY_WAL_DLQ = "memory.wal.dlq"


_DEAD_LETTERS = ".dlq"


def dead_letter_topic(topic: str) -> str:
    """Where records of this topic go that cannot be replicated."""
    return f"{topic}{_DEAD_LETTERS}"


def source_topic(topic: str) -> str:
    """The topic whose dead letters these are."""
    return topic.removesuffix(_DEAD_LETTERS)


QUEUE_OF: dict[TaskName, Queue] = {
    TaskName.RESPOND: Queue.CONVERSATION,
    TaskName.SUMMARIZE: Queue.CONVERSATION,
    TaskName.EXECUTE_TOOL: Queue.TOOLS,
    TaskName.SYNC_MEMORIES: Queue.MEMORY_SYNC,
    TaskName.DRAIN_OUTBOX: Queue.OUTBOX,
    TaskName.REPLICATE_WAL: Queue.REPLICATOR,
    TaskName.REBUILD_WAL: Queue.REPLICATOR,
    TaskName.REBUILD_BRAIN: Queue.MAINTENANCE,
    TaskName.SWEEP: Queue.MAINTENANCE,
    TaskName.PROBE_BRAIN: Queue.MAINTENANCE,
    TaskName.MEASURE_DLQ: Queue.MAINTENANCE,
    TaskName.PRUNE: Queue.MAINTENANCE,
    TaskName.EXPORT: Queue.MAINTENANCE,
    TaskName.RECONCILE: Queue.MAINTENANCE,
    TaskName.RUN_SCHEDULES: Queue.MAINTENANCE,
    TaskName.DELIVER_WEBHOOKS: Queue.OUTBOX,
}


RING_EXPIRES: dict[TaskName, float] = {
    # Rung for at every batch that Kafka took, and heard for a slice of several seconds by a worker with one thread:
    # what lies beside a slice that goes on would only keep a rebuild waiting.
    TaskName.REPLICATE_WAL: 2.0,
    # Of the same worker: it has to outlast a slice.
    TaskName.REBUILD_WAL: 30.0,
    # The next answer rings again; behind many turns it would only be late.
    TaskName.SUMMARIZE: 60.0,
}
"""After how many seconds an unheard ring is forgotten; those of other tasks are heard however late."""


class ProcessName(StrEnum):
    """Our own processes, named alike in devstack, compose, logs, metrics and `/v1/health`."""

    BRAIN = "brain"
    GATEWAY = "gateway"
    WEBUI = "webui"
    BEAT = "beat"
    WORKER_CONVERSATION = "worker-conversation"
    WORKER_TOOLS = "worker-tools"
    WORKER_DELIVERY = "worker-delivery"
    WORKER_REPLICATOR = "worker-replicator"
    FLOWER = "flower"


@dataclass(frozen=True, slots=True)
class Worker:
    """How one Celery worker is started: the queues it serves, the modules with their tasks, its pool and its width."""

    queues: tuple[Queue, ...]
    modules: tuple[str, ...]
    pool: str
    concurrency: int | None
    """None where a setting says it (`celeryconfig.py`)."""


WORKERS: dict[ProcessName, Worker] = {
    ProcessName.WORKER_CONVERSATION: Worker((Queue.CONVERSATION,), ("tasks.conversation",), "threads", None),
    # A thread only watches over its call, which runs in a process of its own (docs/adr/0013).
    ProcessName.WORKER_TOOLS: Worker((Queue.TOOLS,), ("tasks.tools",), "threads", 4),
    ProcessName.WORKER_DELIVERY: Worker(
        (Queue.OUTBOX, Queue.MEMORY_SYNC, Queue.MAINTENANCE),
        ("tasks.outbox", "tasks.memory", "tasks.upkeep", "tasks.exports", "tasks.schedules", "tasks.webhooks"),
        "threads",
        4,
    ),
    ProcessName.WORKER_REPLICATOR: Worker((Queue.REPLICATOR,), ("tasks.replicator",), "solo", 1),
}


def command(process: ProcessName) -> tuple[str, ...]:
    """The arguments after `python -m` that start one process; ports and hosts come from the settings."""
    if process in WORKERS:
        worker = WORKERS[process]
        return (
            "tasks", "worker",
            "--queues", ",".join(worker.queues),
            "--include", ",".join(("tasks.process", *worker.modules)),
            "--pool", worker.pool,
            *(("--concurrency", str(worker.concurrency)) if worker.concurrency else ()),
            "--hostname", f"{process}@%h",
            "--without-gossip", "--without-mingle", "--loglevel", "WARNING",
        )  # fmt: skip
    return _COMMANDS[process]


_COMMANDS: dict[ProcessName, tuple[str, ...]] = {
    ProcessName.BRAIN: ("gunicorn", "--config", "python:app.brain.server", "app.brain.app:create_app()"),
    ProcessName.GATEWAY: (
        "gunicorn", "--config", "python:app.gateway.server", "app.gateway.app:create_app()",
    ),
    ProcessName.WEBUI: ("gunicorn", "--config", "python:webui.server", "webui.app:create_app()"),
    ProcessName.BEAT: ("tasks", "beat", "--loglevel", "WARNING"),
    ProcessName.FLOWER: ("celery", "--app", "tasks", "flower"),
}  # fmt: skip

"""The gauges of everything that is owed, so that an outage shows within seconds."""

from collections.abc import Mapping
from typing import Protocol

from app.routing import dead_letter_topic
from app.telemetry.metrics import (
    DLQ_DEPTH,
    MEMORY_SYNC_BACKLOG,
    MEMORY_SYNC_OLDEST,
    OUTBOX_BACKLOG,
    OUTBOX_OLDEST,
    REPLICATOR_LAG,
    TOOL_CALLS_OLDEST,
    TOOL_CALLS_OWED,
    TURNS_OLDEST,
    TURNS_OWED,
)


class Owed(Protocol):
    """How much of something waits, and for how long."""

    @property
    def count(self) -> int: ...

    @property
    def oldest_seconds(self) -> float: ...


class Measures(Protocol):
    """What can be counted."""

    def memories_owed(self) -> Owed: ...

    def turns_owed(self) -> Owed: ...

    def tool_calls_owed(self) -> Owed: ...

    def records_owed(self) -> Mapping[str, Owed]: ...

    def dead_letters(self) -> Mapping[str, int]: ...

    def replication_lag(self, topic: str, partitions: int) -> float: ...


def measure(measures: Measures, wal_topic: str, partitions: int) -> None:
    """Look once at every backlog and set its gauges."""
    memories, turns, calls = measures.memories_owed(), measures.turns_owed(), measures.tool_calls_owed()
    MEMORY_SYNC_BACKLOG.set(memories.count)
    MEMORY_SYNC_OLDEST.set(memories.oldest_seconds)
    TURNS_OWED.set(turns.count)
    TURNS_OLDEST.set(turns.oldest_seconds)
    TOOL_CALLS_OWED.set(calls.count)
    TOOL_CALLS_OLDEST.set(calls.oldest_seconds)
    OUTBOX_BACKLOG.clear()
    OUTBOX_OLDEST.clear()
    for topic, owed in ({wal_topic: None} | dict(measures.records_owed())).items():
        OUTBOX_BACKLOG.labels(topic).set(owed.count if owed else 0)
        OUTBOX_OLDEST.labels(topic).set(owed.oldest_seconds if owed else 0)
    for topic, depth in ({dead_letter_topic(wal_topic): 0} | dict(measures.dead_letters())).items():
        DLQ_DEPTH.labels(topic).set(depth)
    REPLICATOR_LAG.set(measures.replication_lag(wal_topic, partitions))

"""A partitioned log as it is read: partitions, raw records, batches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WalPartition:
    """A partition of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class WalPlace:
    """Where a partition's truth stands, and how often the partition has been taken by a slot."""

    offset: int
    generation: int


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it lies in the log."""

    partition: WalPartition
    offset: int
    value: bytes
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class WalBatch:
    """Records of one partition, in order; `start` is the offset that was asked for, `end` the next one to ask for.
    `generation` is that of the slot's taking the partition: once another has taken it, this batch cannot be stored.
    """

    partition: WalPartition
    start: int
    end: int
    records: tuple[RawRecord, ...]
    generation: int

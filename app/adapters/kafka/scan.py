"""The whole of `memory.wal`, read once from the beginning beside every group: nobody's place in it changes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from app.adapters.kafka.connection import made_whole
from app.domain.errors import WalUnavailable
from app.domain.log import RawRecord, WalPartition

_ANSWER_MS = 5000
_POLL_MS = 2000


class KafkaWalScan:
    """`WalScan` on a consumer without a group; made for each slice of work, since scans are rare."""

    def __init__(self, options: Mapping[str, Any], topic: str) -> None:
        self._options = options
        self._topic = topic

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Partition → (first offset, the one behind the last) as the log stands now."""
        with self._consumer() as consumer:
            partitions = [TopicPartition(self._topic, number) for number in self._numbers(consumer)]
            starts = consumer.beginning_offsets(partitions, timeout_ms=_ANSWER_MS)
            ends = consumer.end_offsets(partitions, timeout_ms=_ANSWER_MS)
        return {partition.partition: (starts[partition], ends[partition]) for partition in partitions}

    def records(self, number: int, start: int, end: int) -> Iterator[list[RawRecord]]:
        """Batches of one partition's records from `start` to before `end`. `WalUnavailable` where the log gives nothing
        although it has not ended; places without a record, as transactions leave them, are passed over.
        """
        with self._consumer() as consumer:
            partition = TopicPartition(self._topic, number)
            consumer.assign([partition])
            consumer.seek(partition, start)
            where = WalPartition(self._topic, number)
            while (at := self._position(consumer, partition)) < end:
                found = consumer.poll(timeout_ms=_POLL_MS, max_records=500).get(partition, [])
                if not found and self._position(consumer, partition) == at:
                    raise WalUnavailable("memory.wal gives nothing although it has not ended")
                raw = [RawRecord(where, each.offset, each.value or b"", each.timestamp) for each in found]
                if before_end := [record for record in raw if record.offset < end]:
                    yield before_end

    @contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        try:
            consumer = made_whole(
                KafkaConsumer,
                **self._options,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                request_timeout_ms=5000,
                allow_auto_create_topics=False,
            )
            try:
                yield consumer
            finally:
                consumer.close(autocommit=False, timeout_ms=1000)
        except (KafkaError, OSError) as error:
            raise WalUnavailable(f"memory.wal cannot be read: {type(error).__name__}: {error}"[:300]) from error

    def _numbers(self, consumer: KafkaConsumer) -> list[int]:
        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:
            raise WalUnavailable("memory.wal cannot be read: the topic does not exist in Kafka")
        return sorted(numbers)

    def _position(self, consumer: KafkaConsumer, partition: TopicPartition) -> int:
        return int(consumer.position(partition, timeout_ms=_ANSWER_MS) or 0)

"""The whole of `memory.wal`, for rebuilds and proofs: partitions assigned by hand, no group, nothing committed."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from app.adapters.kafka.connection import made_whole
from app.domain.errors import WalUnavailable
from app.domain.log import RawRecord, WalBatch, WalPartition

_ANSWER_MS = 5000
_SILENCE_SECONDS = 3.0
_SCAN_SECONDS, _SCAN_RECORDS = 2.0, 500
_NO_GENERATION = 0


class KafkaWalHistory:
    """`WalHistory` on a consumer of its own, made on first use; one thread at a time.

    A place that the log no longer has is an error, never another place, unless `from_lost` names one.
    """

    def __init__(self, options: Mapping[str, Any], topic: str, from_lost: str = "none") -> None:
        self._options = options
        self._topic = topic
        self._from_lost = from_lost
        self._consumer: KafkaConsumer | None = None
        self._at: dict[TopicPartition, int] = {}
        self._moved_at = 0.0

    def bounds(self) -> dict[int, tuple[int, int]]:
        """First and next offset by partition; a topic that does not exist has none."""
        try:
            consumer = self._connected()
            numbers = consumer.partitions_for_topic(self._topic) or set()
            partitions = [TopicPartition(self._topic, number) for number in numbers]
            first = consumer.beginning_offsets(partitions, timeout_ms=_ANSWER_MS) if partitions else {}
            following = consumer.end_offsets(partitions, timeout_ms=_ANSWER_MS) if partitions else {}
        except (KafkaError, OSError) as error:
            raise self._unavailable(error) from error
        self._moved_at = time.monotonic()
        return {each.partition: (first[each], following[each]) for each in partitions}

    def read(self, places: Mapping[int, int], until: Mapping[int, int], seconds: float, limit: int) -> list[WalBatch]:
        """What comes; a consumer that brings nothing for 3 s of reading is given up for a new one."""
        wanted = {
            TopicPartition(self._topic, number): places.get(number, 0)
            for number, end in until.items()
            if places.get(number, 0) < end
        }
        try:
            consumer = self._connected()
            self._move(consumer, wanted)
            found = consumer.poll(timeout_ms=int(seconds * 1000), max_records=limit)
            batches = [
                self._batch(consumer, partition, place, found.get(partition, [])) for partition, place in wanted.items()
            ]
            self._watch(any(batch.end > batch.start for batch in batches))
        except (KafkaError, OSError) as error:
            raise self._unavailable(error) from error
        cut = [_cut(batch, until[batch.partition.number]) for batch in batches]
        return [batch for batch in cut if batch.end > batch.start]

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = made_whole(
                KafkaConsumer,
                **self._options,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset=self._from_lost,
                request_timeout_ms=5000,
                # The end of the log is read in small steps: no fetch is to wait long for what is not written yet.
                fetch_max_wait_ms=50,
                allow_auto_create_topics=False,
            )
            self._at, self._moved_at = {}, time.monotonic()
        return self._consumer

    def _move(self, consumer: KafkaConsumer, wanted: Mapping[TopicPartition, int]) -> None:
        if consumer.assignment() != set(wanted):
            consumer.assign(list(wanted))
            self._at = {partition: place for partition, place in self._at.items() if partition in wanted}
        for partition, place in wanted.items():
            if self._at.get(partition) != place:
                consumer.seek(partition, place)
                self._at[partition] = place

    def _batch(self, consumer: KafkaConsumer, partition: TopicPartition, place: int, records: list[Any]) -> WalBatch:
        where = WalPartition(partition.topic, partition.partition)
        # The position, not the last record: markers of transactions have offsets, too, and are never handed out.
        end = max(consumer.position(partition, timeout_ms=1000) or 0, records[-1].offset + 1 if records else place)
        self._at[partition] = end
        raw = tuple(RawRecord(where, record.offset, record.value or b"", record.timestamp) for record in records)
        return WalBatch(where, place, end, raw, _NO_GENERATION)

    def _watch(self, moved: bool) -> None:
        now = time.monotonic()
        if moved:
            self._moved_at = now
        elif now - self._moved_at > _SILENCE_SECONDS:
            raise KafkaError("the consumer does not move")

    def _unavailable(self, error: Exception) -> WalUnavailable:
        self.close()
        return WalUnavailable(f"memory.wal cannot be read: {type(error).__name__}: {error}"[:300])

    def close(self) -> None:
        """Let the connections go; the next call makes new ones."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, OSError):
                consumer.close(autocommit=False, timeout_ms=1000)


class KafkaWalScan:
    """`WalScan`: a history for each slice of work, since scans are rare and a process may have two of them.

    A proof goes on behind what the log has given away meanwhile: whatever is missing there is for it to tell.
    """

    def __init__(self, options: Mapping[str, Any], topic: str) -> None:
        self._options = options
        self._topic = topic

    def bounds(self) -> dict[int, tuple[int, int]]:
        """As the log stands now; a topic that does not exist is an outage here, for else all of it would be missing."""
        with closing(self._history()) as history:
            found = history.bounds()
        if not found:
            raise WalUnavailable("memory.wal cannot be read: the topic does not exist in Kafka")
        return found

    def records(self, number: int, start: int, end: int) -> Iterator[list[RawRecord]]:
        """Never an empty batch: places without a record, as transactions leave them, are passed over."""
        with closing(self._history()) as history:
            while start < end:
                for batch in history.read({number: start}, {number: end}, _SCAN_SECONDS, _SCAN_RECORDS):
                    start = batch.end
                    if batch.records:
                        yield list(batch.records)

    def _history(self) -> KafkaWalHistory:
        return KafkaWalHistory(self._options, self._topic, from_lost="earliest")


def _cut(batch: WalBatch, until: int) -> WalBatch:
    if batch.end <= until:
        return batch
    records = tuple(record for record in batch.records if record.offset < until)
    return WalBatch(batch.partition, batch.start, until, records, batch.generation)

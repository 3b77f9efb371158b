"""`memory.wal` as one replicator slot reads it: positions come from Postgres, never from Kafka's group offsets."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import MemberState, OffsetAndMetadata

from app.adapters.kafka.connection import made_whole
from app.domain.errors import WalUnavailable
from app.domain.log import RawRecord, WalBatch, WalPartition, WalPlace

_CHECK_SECONDS = 2.0
_ANSWER_MS = 5000


class KafkaWalReader:
    """`WalReader` on a consumer group; `take` makes a partition ours and tells where its truth stands. A consumer that
    has something to read and does not move over `patience` checks, 2 s apart, is given up for a new one.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        topic: str,
        group: str,
        take: Callable[[WalPartition], WalPlace],
        patience: int = 5,
    ) -> None:
        self._options = options
        self._topic = topic
        self._group = group
        self._take = take
        self._patience = patience
        self._consumer: KafkaConsumer | None = None
        self._places: dict[TopicPartition, WalPlace] = {}
        self._checked_at = 0.0
        self._standing = 0

    def poll(self, seconds: float, limit: int) -> list[WalBatch]:
        """What has come, per partition, as raw bytes. A broker that is away is noticed within 2-7 s, a consumer that
        stands still after about 10 s: `WalUnavailable`, and the next poll begins with a new consumer.
        """
        try:
            consumer = self._connected()
            self._seek_new(consumer)
            found = consumer.poll(timeout_ms=int(seconds * 1000), max_records=limit)
            # What was fetched before the seek is from Kafka's idea of our place: it comes again.
            strangers = self._seek_new(consumer)
            if found:
                self._standing = 0
            else:
                self._check(consumer)
        except (KafkaError, OSError) as error:
            self.close()
            raise WalUnavailable(f"memory.wal cannot be read: {type(error).__name__}: {error}"[:300]) from error
        ours = self._places.keys() - strangers
        return [self._batch(partition, records) for partition, records in found.items() if partition in ours]

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = made_whole(
                KafkaConsumer,
                **self._options,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=6000,
                heartbeat_interval_ms=500,
                request_timeout_ms=5000,
                max_poll_interval_ms=20_000,
                fetch_max_wait_ms=500,
                allow_auto_create_topics=False,
            )
            self._standing, self._checked_at = 0, time.monotonic()
            self._consumer.subscribe([self._topic], listener=_Assignment(self._forget))
            # Know the partitions before joining: when they become known during a join, kafka-python 3.0.12 joins
            # twice, and can forget the second join's answer for ever (`need_rejoin` turns false under its loop).
            self._consumer.end_offsets([TopicPartition(self._topic, 0)], timeout_ms=_ANSWER_MS)
        return self._consumer

    def _seek_new(self, consumer: KafkaConsumer) -> set[TopicPartition]:
        """Put partitions whose place is not known yet where Postgres says; they are returned."""
        lost = {partition for partition in consumer.assignment() if partition not in self._places}
        for partition in lost:
            place = self._take(WalPartition(partition.topic, partition.partition))
            consumer.seek(partition, place.offset)
            self._places[partition] = place
        return lost

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._places.pop(partition, None)

    def _check(self, consumer: KafkaConsumer) -> None:
        # An empty poll does not tell an idle log from a dead broker or a stalled consumer; asking for the ends does.
        if time.monotonic() - self._checked_at < _CHECK_SECONDS:
            return
        partitions = consumer.assignment()
        ends = consumer.end_offsets(list(partitions) or [TopicPartition(self._topic, 0)], timeout_ms=_ANSWER_MS)
        joined = consumer.group_metadata().state is MemberState.STABLE
        idle = joined and all(self._at(consumer, partition) >= ends[partition] for partition in partitions)
        self._standing = 0 if idle else self._standing + 1
        self._checked_at = time.monotonic()
        if self._standing >= self._patience:
            raise KafkaError("the consumer does not move" if joined else "the consumer does not join its group")

    def _at(self, consumer: KafkaConsumer, partition: TopicPartition) -> int:
        # Not `_places`: markers of transactions have offsets, too, and are never handed out.
        return consumer.position(partition, timeout_ms=1000) or 0

    def _batch(self, partition: TopicPartition, records: list[Any]) -> WalBatch:
        where = WalPartition(partition.topic, partition.partition)
        place, end = self._places[partition], records[-1].offset + 1
        self._places[partition] = WalPlace(end, place.generation)
        raw = tuple(RawRecord(where, record.offset, record.value or b"", record.timestamp) for record in records)
        return WalBatch(where, place.offset, end, raw, place.generation)

    def commit(self, batch: WalBatch) -> None:
        """Show Kafka's tools how far we are."""
        if self._consumer is not None:
            partition = TopicPartition(batch.partition.topic, batch.partition.number)
            with suppress(KafkaError, OSError):
                self._consumer.commit_async({partition: OffsetAndMetadata(batch.end, "", -1)})

    def rewind(self) -> None:
        """Forget our places; the next poll takes them from Postgres."""
        self._places.clear()

    def close(self) -> None:
        """Leave the group; the next poll joins it anew."""
        consumer, self._consumer = self._consumer, None
        self._places.clear()
        if consumer is not None:
            with suppress(KafkaError, OSError):
                consumer.close(autocommit=False, timeout_ms=1000)


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Partitions come and go: either way our place in them has to be asked for again."""

    def __init__(self, forget: Callable[[Iterable[TopicPartition]], None]) -> None:
        self._forget = forget

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._forget(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._forget(revoked)

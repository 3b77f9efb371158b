"""Kafka as the outbox sees it: every record's future is checked, and a broken producer is made anew."""

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import InvalidTopicError, KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from app.adapters.kafka.connection import made_whole
from app.domain.errors import Rejected, WalUnavailable
from app.domain.memory import WalRecord
from app.domain.ports import Sent

_BATCH_SECONDS = 6.0
# Below what a broker takes by default (message.max.bytes, 1,048,588): one that it refuses fails its neighbours too.
LONGEST_RECORD_BYTES = 1_000_000
_HOPELESS = (MessageSizeTooLargeError, InvalidTopicError)


class KafkaWalWriter:
    """`WalWriter` on an idempotent producer, built on first use in each process."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._producer: KafkaProducer | None = None
        self._lock = threading.Lock()

    def publish(self, records: Sequence[WalRecord]) -> list[Sent | Exception]:
        """Send all, wait for all; one outcome each. A dead broker is known after 3-6 s."""
        with self._lock:
            outcomes = self._publish(records)
            if any(isinstance(outcome, WalUnavailable) for outcome in outcomes):
                self._drop_producer()
            elif len(records) > 1 and any(isinstance(outcome, Rejected) for outcome in outcomes):
                self._drop_producer()
                return self._singly(records, outcomes)
            return outcomes

    def _singly(self, records: Sequence[WalRecord], outcomes: list[Sent | Exception]) -> list[Sent | Exception]:
        """Ask again for what was refused, each alone: a refusal ends the whole batch, innocent records with it."""
        final: list[Sent | Exception] = []
        away: WalUnavailable | None = None
        for record, outcome in zip(records, outcomes, strict=True):
            answer = (away or self._alone(record)) if isinstance(outcome, Rejected) else outcome
            away = answer if isinstance(answer, WalUnavailable) else away
            final.append(answer)
        return final

    def _alone(self, record: WalRecord) -> Sent | Exception:
        outcome = self._publish([record])[0]
        if not isinstance(outcome, Sent):
            self._drop_producer()
        return outcome

    def _publish(self, records: Sequence[WalRecord]) -> list[Sent | Exception]:
        try:
            producer = self._connected()
            futures = [_begin(producer, record) for record in records]
            with suppress(KafkaError):
                producer.flush(timeout=_BATCH_SECONDS)
        except (KafkaError, OSError) as error:
            return [_translated(error)] * len(records)
        return [_outcome(future) for future in futures]

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = made_whole(
                KafkaProducer,
                **self._options,
                acks="all",
                linger_ms=2,
                max_block_ms=1500,
                request_timeout_ms=3000,
                delivery_timeout_ms=5000,
                max_request_size=LONGEST_RECORD_BYTES,
            )
        return self._producer

    def close(self) -> None:
        """Let the connection go; the next `publish` makes a new one."""
        with self._lock:
            self._drop_producer()

    def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError):
                producer.close(timeout=0.5)


def _begin(producer: KafkaProducer, record: WalRecord) -> Any:
    try:
        return producer.send(
            record.topic,
            key=record.partition_key.encode(),
            value=json.dumps(record.payload, ensure_ascii=False, allow_nan=False).encode(),
            headers=[(name, value.encode()) for name, value in record.headers.items()],
        )
    except (KafkaError, OSError) as error:
        return error


def _outcome(future: Any) -> Sent | Exception:
    if isinstance(future, Exception):
        return _translated(future)
    try:
        placed = future.get(timeout=0.05)
    except (KafkaError, OSError) as error:
        return _translated(error)
    return Sent(placed.partition, placed.offset)


def _translated(error: Exception) -> Exception:
    if isinstance(error, _HOPELESS):
        return Rejected(f"Kafka will not take this record: {type(error).__name__}")
    if isinstance(error, UnknownTopicOrPartitionError):
        return WalUnavailable("the topic does not exist in Kafka; create it")
    return WalUnavailable(f"Kafka did not acknowledge: {type(error).__name__}")

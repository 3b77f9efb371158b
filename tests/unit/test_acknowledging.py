"""A broker that is gone is never mistaken for one that has heard."""

from typing import Any

import pytest
from kombu.transport.redis import Channel
from redis.exceptions import TimeoutError as RedisTimeout

from tasks.acknowledging import HonestMessage, acknowledge_honestly


class HungChannel:
    """The channel of a Redis that does not answer."""

    no_ack_consumers: frozenset[str] = frozenset()

    def message_to_python(self, message: Any) -> Any:
        return message

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        raise RedisTimeout("Timeout reading from socket")


def test_an_acknowledgement_that_failed_reaches_the_consumer() -> None:
    ring = HonestMessage({"body": "", "properties": {"delivery_tag": "1", "delivery_info": {}}}, channel=HungChannel())

    with pytest.raises(RedisTimeout):
        ring.ack_log_error(None, (RedisTimeout,))


def test_every_worker_acknowledges_so() -> None:
    acknowledge_honestly()

    assert Channel.Message is HonestMessage

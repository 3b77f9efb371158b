"""A ring that cannot be acknowledged means that the broker is gone, and the consumer has to hear it.

kombu logs such an error and goes on. The message then keeps its prefetch slot for ever: a worker with one slot
takes no further task after Redis hung for a while. Raised, the same error makes the consumer connect anew.
"""

from typing import Any

from kombu.transport.redis import Channel
from kombu.transport.virtual import Message


class HonestMessage(Message):
    """A message whose failed acknowledgement is not swallowed."""

    def ack_log_error(self, *_where_and_what_to_log: Any, multiple: bool = False) -> None:
        """Acknowledge, or let the connection's error pass."""
        self.ack(multiple=multiple)  # type: ignore[no-untyped-call]


def acknowledge_honestly() -> None:
    """From now on for every channel of this process."""
    Channel.Message = HonestMessage

"""Where in the stream of a response an event stands, written as one number.

The number says it all: which attempt wrote what was sent, how many output items had come to nothing before, and how
far the item was. So a stream can be resumed after any restart with nothing stored but the turn itself. The numbers
grow along a stream, and skip.
"""

from dataclasses import dataclass

CREATED, QUEUED, IN_PROGRESS = 0, 1, 2
ITEM_ADDED, PART_ADDED = 1, 2
"""Where in an item its opening stands; the text that ends at character n stands at `PART_ADDED` + n."""
TEXT_DONE, PART_DONE, ITEM_DONE = 9_000_000, 9_000_001, 9_000_002
CALLS, STEPS_OF_A_CALL = 9_000_010, 4
ENDED = 9_999_999
_ITEM = 10_000_000
_ATTEMPT = 1_000 * _ITEM
MOST_CALLS = (ENDED - CALLS) // STEPS_OF_A_CALL
LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class ResponsePlace:
    """A place: in the head while `attempt` is 0, else `step` in the output item that is number `item`."""

    attempt: int
    item: int
    step: int

    @property
    def number(self) -> int:
        """The `sequence_number`."""
        return self.attempt * _ATTEMPT + self.item * _ITEM + self.step


def place_at(number: int) -> ResponsePlace:
    """The place with this number; before the beginning where it is negative."""
    if number < 0:
        return ResponsePlace(0, 0, -1)
    attempt, rest = divmod(number, _ATTEMPT)
    return ResponsePlace(attempt, *divmod(rest, _ITEM))

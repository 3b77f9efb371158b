"""Coordinates as the service stores them: the shared arithmetic, and the way back from numbers to bytes. Pure."""

import struct
from collections.abc import Sequence

from app.domain.coordinates import DEFAULT_UNIVERSE, HALF_RANGE, as_numbers, coordinate_bytes

__all__ = ["DEFAULT_UNIVERSE", "as_bytes", "as_numbers", "coordinate_bytes"]


def as_bytes(numbers: Sequence[float]) -> bytes:
    """The inverse of `as_numbers`; numbers must lie in [-1, 1]."""
    return struct.pack(">III", *(min(round((number + 1.0) * HALF_RANGE), 2**32 - 1) for number in numbers))

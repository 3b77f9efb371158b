"""A memory's coordinate: twelve bytes of its universe and key, shown as three numbers in [-1, 1]. Pure.

Coordinates do not tell tenants apart, so none is ever used without a tenant beside it.
"""

import hashlib
import struct
from collections.abc import Sequence

DEFAULT_UNIVERSE = "real"
_HALF = 2.0**31


def coordinate_bytes(universe: str, key: str) -> bytes:
    """BLAKE2b-96 of `{universe}::{key}`."""
    return hashlib.blake2b(f"{universe or DEFAULT_UNIVERSE}::{key}".encode(), digest_size=12).digest()


def as_numbers(coordinate: bytes) -> list[float]:
    """Three big-endian 32-bit numbers u, each as 2u/2^32 - 1; exact in a double."""
    return [part / _HALF - 1.0 for part in struct.unpack(">III", coordinate)]


def as_bytes(numbers: Sequence[float]) -> bytes:
    """The inverse of `as_numbers`; numbers must lie in [-1, 1]."""
    return struct.pack(">III", *(min(round((number + 1.0) * _HALF), 2**32 - 1) for number in numbers))

"""A memory's coordinate: twelve bytes of its universe and key, shown as three numbers in [-1, 1]. Pure.

Coordinates do not tell tenants apart, so none is ever used without a tenant beside it.
"""

import hashlib
import struct

DEFAULT_UNIVERSE = "real"
HALF_RANGE = 2.0**31


def coordinate_of(universe: str, key: str) -> list[float]:
    """Where the memory `key` of this universe lies, as SomaBrain counts it."""
    return as_numbers(coordinate_bytes(universe, key))


def coordinate_bytes(universe: str, key: str) -> bytes:
    """BLAKE2b-96 of `{universe}::{key}`; any text has one, half a surrogate pair too."""
    address = f"{universe or DEFAULT_UNIVERSE}::{key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(address, digest_size=12).digest()


def as_numbers(coordinate: bytes) -> list[float]:
    """Three big-endian 32-bit numbers u, each as 2u/2^32 - 1; exact in a double."""
    return [part / HALF_RANGE - 1.0 for part in struct.unpack(">III", coordinate)]

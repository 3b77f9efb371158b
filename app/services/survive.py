"""Whoever lives to say that a claim was lost says so: only what ends without a word is a death."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.domain.errors import LeaseLost, StoreUnavailable


@contextmanager
def surviving(say: Callable[[], None]) -> Iterator[None]:
    """A claim is in hand while the block runs; when it was lost, or cannot be ended with Postgres away, `say` so."""
    try:
        yield
    except (LeaseLost, StoreUnavailable):
        say()
        raise

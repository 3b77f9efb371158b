"""What a person sees of a command that takes many rounds: how far it is, and how far it came when it was stopped."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.client import Refused


class Stopped(Exception):
    """Somebody pressed Ctrl-C; the text says what was done until then."""


class Progress:
    """Letters done so far by one command; `deed` is the word for what is done to them."""

    def __init__(self, deed: str) -> None:
        self.count = 0
        self._deed = deed
        self._began = time.monotonic()

    def add(self, count: int, remaining: int) -> None:
        """One more round; it is told on the error stream when there will be another."""
        self.count += count
        if remaining:
            rate = self.count / max(time.monotonic() - self._began, 0.001)
            sys.stderr.write(f"{self.count} of {self.count + remaining} {self._deed}, {rate:.0f} a second\n")
            sys.stderr.flush()

    @contextmanager
    def told_to_the_end(self) -> Iterator[None]:
        """Whatever ends the block early also says how much was done."""
        try:
            yield
        except Refused as error:
            raise Refused(f"{self.count} {self._deed}, then: {error}" if self.count else str(error)) from None
        except KeyboardInterrupt:
            raise Stopped(f"stopped; {self.count} {self._deed}; a round that was under way may count, too") from None

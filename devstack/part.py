"""What one part of the stack is: a value that says how to start it, when it is ready and how it ends."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Gate = Callable[[], bool]


def always() -> bool:
    """The gate of a part that is ready as soon as it lives."""
    return True


def nothing() -> None:
    """The hook of a part that needs none."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process tree. Durations are seconds; `ports` are those that it opens on loopback.

    `prepare` runs before the first spawn and `complete` once its gate has opened for the first time; both may raise
    `CannotStart`. A part that runs `once` is a step: the parts after it wait for its exit status 0.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    gate: Gate = always
    prepare: Callable[[], None] = nothing
    complete: Callable[[], None] = nothing
    renew: Callable[[], None] = nothing
    """Runs before every spawn, the first included."""
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 4.0
    start_seconds: float = 60.0
    settle_seconds: float = 0.0
    """How long a part that nobody can ask has to live before it counts as ready."""
    once: bool = False
    server: bool = False
    """Servers end last, because everything else speaks to them."""

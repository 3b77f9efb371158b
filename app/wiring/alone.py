"""One turn in a process of its own, seen from both sides: the worker that gives it, and the child that answers it.

For turns with which workers died (`app/adapters/own_process.py`). The lease is the worker's, which renews it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.adapters.own_process import AWAY, LOST, OwnProcess
from app.adapters.sql.presence import Holder
from app.adapters.sql.work_kinds import TURNS, WorkKind
from app.domain.conversation import Turn
from app.domain.dialogue import Usage
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.leases import Lease
from app.services.conversation import Meter
from app.services.converse import attempt
from app.settings import settings
from app.telemetry.logs import configure_logging, log_context
from app.wiring.conversing import conversation_of
from app.wiring.process import Process

_CONNECTIONS = 2


@dataclass(slots=True)
class ParentsPresence:
    """The presence of the process that holds the lease; it renews, and it says what it survived."""

    owner: str

    @contextmanager
    def working_on(self, _key: str, _kind: WorkKind = TURNS) -> Iterator[None]:
        """Nothing to do: the parent's heartbeat renews."""
        yield

    def is_known(self) -> bool:
        """The parent claimed, so it was known."""
        return True

    def survived(self, _kind: WorkKind, _leases: Iterable[Lease]) -> None:
        """Nothing to do: the parent hears of it."""


class ChildProcess(Process):
    """A process without a heartbeat of its own."""

    def __init__(self, owner: str) -> None:
        super().__init__(settings(), _CONNECTIONS)
        self._owner = owner

    @cached_property
    def presence(self) -> Holder:
        """The parent's."""
        return ParentsPresence(self._owner)


def in_own_process(meter: Meter) -> Callable[[Turn], str]:
    """How a worker gives a turn away; what the child measured is told to this process's meter."""
    run = OwnProcess(answer)

    def give(turn: Turn) -> str:
        said = run(turn)
        for seconds in said["first_pieces"]:
            meter.first_piece(seconds)
        for usage in said["spent"]:
            meter.spent(usage)
        for dimension in said["refused"]:
            meter.refused(dimension)
        return str(said["outcome"])

    return give


def answer(turn: Turn) -> dict[str, Any]:
    """The child: one attempt at this turn, and what became of it."""
    configure_logging(settings().log_level, f"{settings().process_name or 'worker'} alone")
    first_pieces: list[float] = []
    spent: list[Usage] = []
    refused: list[str] = []
    meter = Meter(first_pieces.append, spent.append, refused.append)
    with log_context(task="alone", ids=turn.event_id):
        try:
            outcome = attempt(turn, conversation_of(ChildProcess(turn.lease_owner), meter, _already_alone))
        except LeaseLost:
            return {"outcome": LOST}
        except StoreUnavailable as error:
            return {"outcome": AWAY, "reason": str(error)}
    return {"outcome": outcome, "first_pieces": first_pieces, "spent": spent, "refused": refused}


def _already_alone(_turn: Turn) -> str:
    raise AssertionError("a turn that is alone already was to be set apart again")

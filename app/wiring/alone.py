"""`python -m app.wiring.alone`: answer the one turn that stands on stdin, say on stdout what became of it, and end.

For turns with which workers died (`app/adapters/own_process.py`). The lease is the parent's, which renews it.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from app.adapters.own_process import AWAY, LOST
from app.adapters.sql.presence import Holder
from app.adapters.sql.work_kinds import TURNS, WorkKind
from app.domain.conversation import Turn, Usage
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.leases import Lease
from app.services.converse import Meter, attempt
from app.settings import settings
from app.telemetry.logs import configure_logging, log_context
from app.wiring.conversing import conversation_of
from app.wiring.process import Process

_log = logging.getLogger(__name__)
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


@dataclass(slots=True)
class _Figures:
    """What the parent's meter will be told."""

    first_pieces: list[float] = field(default_factory=list)
    spent: list[dict[str, int]] = field(default_factory=list)

    def spend(self, usage: Usage) -> None:
        self.spent.append(asdict(usage))


def main() -> None:
    """Answer one turn."""
    configure_logging(settings().log_level, f"{settings().process_name or 'worker'} alone")
    turn = Turn(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with log_context(task="alone", ids=turn.event_id):
        print(json.dumps(_answer(turn)), flush=True)


def _end_with_the_parent() -> None:
    sys.stdin.read()
    _log.warning("the worker is gone; its turn begins again elsewhere")
    os._exit(1)


def _answer(turn: Turn) -> dict[str, Any]:
    figures = _Figures()
    conversation = conversation_of(ChildProcess(turn.lease_owner), Meter(figures.first_pieces.append, figures.spend))
    try:
        outcome = attempt(turn, conversation)
    except LeaseLost:
        outcome = LOST
    except StoreUnavailable as error:
        return {"outcome": AWAY, "reason": str(error)}
    return {"outcome": outcome, **asdict(figures)}


if __name__ == "__main__":
    main()

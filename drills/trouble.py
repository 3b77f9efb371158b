"""What the campaign can do to a stack: a `Trouble` breaks and heals on the `Stage` that it is given.

A trouble proves itself: it counts, with probes of its own, how often it was felt, and says how often it has to be.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import requests
from prometheus_client.parser import text_string_to_metric_families

from devstack.stack import Stack
from drills.faults import StackControl
from drills.links import LinkedStack
from drills.load import Target
from drills.model_peer import ModelPeer
from drills.opa_peer import OpaPeer
from drills.record import Record
from drills.report import Timeline

FEEL_SECONDS = 20.0


def always_there() -> str:
    """Nothing is missing."""
    return ""


@dataclass(slots=True)
class Stage:
    """Where a trouble acts, and its notebook. `scale` shortens every duration, for a smoke run."""

    stack: Stack | LinkedStack
    model: ModelPeer
    target: Target
    timeline: Timeline
    dice: random.Random
    scale: float = 1.0
    minutes: float = 2.0
    opa: OpaPeer | None = None
    felt: int = 0
    planted: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    later: list[Callable[[], list[str]]] = field(default_factory=list)
    """Checks of the trouble's own, made when all is quiet; they return what is wrong."""

    def rest(self, seconds: float) -> None:
        """Let the load go on for so long."""
        time.sleep(seconds * self.scale)

    def times(self, number: int) -> int:
        """How often to do something, at least once."""
        return max(1, round(number * self.scale))

    def feel(self, probe: Callable[[], bool], seconds: float = FEEL_SECONDS) -> None:
        """Count the fault as felt once the probe says so; asks for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if probe():
                self.felt += 1
                return
            time.sleep(0.1)

    def encourage(self, part: str) -> None:
        """Keep the launcher's pause between the lives of a part that is up from growing."""
        self.stack.up(part)

    def kill(self, part: str) -> None:
        """SIGKILL the part's tree and wait until its next life is ready; felt when it is another process."""
        before = self.stack.status()[part].pid
        self.stack.kill(part)
        self.stack.wait_ready(part)
        self.felt += self.stack.status()[part].pid != before
        self.encourage(part)

    @contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """While the block runs, the part's tree is stopped (SIGSTOP)."""
        self.stack.freeze(part)
        try:
            yield
        finally:
            self.stack.thaw(part)

    @contextmanager
    def without(self, part: str) -> Iterator[None]:
        """While the block runs, the part is down."""
        self.stack.down(part)
        try:
            yield
        finally:
            self.stack.up(part)

    @contextmanager
    def joined_by(self, part: str) -> Iterator[None]:
        """While the block runs, a second worker runs beside the first."""
        self.stack.up(part)
        try:
            yield
        finally:
            self.stack.thaw(part)
            self.stack.down(part)

    def post(self, text: str, tenant: str, session_id: str = "") -> None:
        """One message beside the load, for another tenant; it must be accepted."""
        body = {"session_id": session_id or f"{tenant}-1", "message": text, "metadata": {"tenant": tenant}}
        requests.post(f"{self.target.gateway}/v1/session/message", json=body, timeout=10).raise_for_status()

    def sql(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Ask Postgres, on a connection that is closed at once; the parameter `tenant` is the load's if not given."""
        connection = psycopg2.connect(self.stack.environment["POSTGRES_DSN"], connect_timeout=3)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, {"tenant": self.target.tenant, **parameters})
                return cursor.fetchall()
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault of the campaign. `act` breaks and heals; `felt` is how often it has to be felt (scaled in a smoke run).

    `shown_by` names components of `/v1/health` and counters of the delivery worker, any of which shows the fault;
    none means that nothing is promised to be seen. `overrides` are settings that the stack needs for it.
    """

    id: str
    title: str
    act: Callable[[Stage], None]
    felt: int = 1
    shown_by: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    beside_posts: bool = False
    """Whether it lies beside the way of a POST, which then has to stay as quick as in the calm."""
    linked: bool = False
    """Whether it needs proxies between our processes and the servers."""
    decided: bool = False
    """Whether it needs an OPA of the drill's own, which decides for the stack."""
    missing: Callable[[], str] = always_there
    """Why this machine cannot cause it, asked right before; empty where it can."""
    room: Callable[[Path], AbstractContextManager[None]] | None = None
    """What has to stand around the stack's folder, from before its start until after its end."""

    @staticmethod
    def marks(record: Record) -> list[str]:
        """What the fault's own checks found wrong."""
        return list(record.complaints)


@dataclass(frozen=True, slots=True)
class NotHere:
    """A fault of the campaign that this version or this machine cannot cause, with the reason; never a pass."""

    id: str
    title: str
    reason: str


class Signs:
    """The trouble as `Watch` asks for it: whether the product shows it now, in its health or in its counters."""

    def __init__(self, trouble: Trouble, stack: StackControl) -> None:
        self._wanted = trouble.shown_by
        self._stack = stack
        self._before = self._counters()
        self.name, self.title = trouble.id, trouble.title

    def felt(self, _stack: StackControl) -> bool:
        """Nothing: a trouble counts for itself."""
        return False

    def shown(self, health: Mapping[str, Any]) -> bool:
        """Whether a component is unwell or a counter has moved since the calm."""
        components = health.get("components") or {}
        if any(components.get(name, {}).get("status", "ok") != "ok" for name in self._wanted):
            return True
        now = self._counters()
        return any(now.get(name, 0.0) > self._before.get(name, 0.0) for name in self._wanted)

    def _counters(self) -> dict[str, float]:
        try:
            text = requests.get(f"{self._stack.url('worker-delivery')}/metrics", timeout=2).text
            families = list(text_string_to_metric_families(text))
        except (requests.RequestException, ValueError):
            return {}
        found: dict[str, float] = {}
        for family in families:
            for sample in family.samples:
                if sample.name in self._wanted:
                    found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def forget(self) -> None:
        """From now on count anew."""
        self._before = self._counters()

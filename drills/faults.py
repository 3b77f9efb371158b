"""What can be broken: each fault knows how to break one thing, how to feel that it is broken, and how to heal it.

A fault that comes later is one more class and one more line in `FAULTS`; load, watch and checker stay as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import requests

from drills.record import Record

# The product may show figures of its health that are this old.
HEALTH_IS_KEPT_SECONDS = 3.0


class StackControl(Protocol):
    """What a drill may do to the stack it started; `devstack.stack.Stack` is one."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings in force, addresses of servers among them."""

    def url(self, name: str) -> str:
        """Where this process answers HTTP."""

    def down(self, name: str) -> object:
        """Stop a process and keep it stopped."""

    def up(self, name: str) -> object:
        """Start a process that is down; returns when it is ready."""

    def freeze(self, name: str) -> object:
        """Stop a process in its tracks (SIGSTOP)."""

    def thaw(self, name: str) -> object:
        """Let a frozen process go on."""


class Fault(Protocol):
    """One thing that breaks and is healed."""

    name: str
    title: str

    def break_it(self, stack: StackControl) -> None:
        """Cause the fault; returns when it is there."""

    def felt(self, stack: StackControl) -> bool:
        """Whether the fault is there right now, found out by a probe of the drill's own."""

    def shown(self, health: Mapping[str, Any]) -> bool:
        """Whether the product itself says so in `/v1/health`."""

    def heal(self, stack: StackControl) -> None:
        """Undo the fault; returns when the thing works again."""

    def marks(self, record: Record) -> list[str]:
        """What must have been different while the fault was there, and was not."""


class BrainDown:
    """SomaBrain is gone: memories wait as rows, and nobody who talks to the agent notices."""

    name = "outage"
    title = "SomaBrain is down"

    def break_it(self, stack: StackControl) -> None:
        stack.down("brain")

    def felt(self, stack: StackControl) -> bool:
        try:
            requests.get(f"{stack.url('brain')}/health", timeout=2)
        except requests.RequestException:
            return True
        return False

    def shown(self, health: Mapping[str, Any]) -> bool:
        component = (health.get("components") or {}).get("somabrain_http") or {}
        return bool(component) and component.get("status") != "ok"

    def heal(self, stack: StackControl) -> None:
        stack.up("brain")

    def marks(self, record: Record) -> list[str]:
        calm = max((sample.backlog or 0 for sample in record.samples if sample.at < record.window.broken_at), default=0)
        last = max(record.during, key=lambda sample: sample.at, default=None)
        if last is None:
            return []  # not felt, and said so already
        begin, end = record.window.broken_at, last.at - HEALTH_IS_KEPT_SECONDS
        waiting = sum(begin <= event.at < end for event in record.finals)
        rise = max(sample.backlog or 0 for sample in record.during) - calm
        return [f"memory_sync_backlog rose by {rise}, though {waiting} answers had to wait"] if rise < waiting else []


FAULTS: dict[str, Fault] = {fault.name: fault for fault in (BrainDown(),)}


def _hold_memory_sync(stack: StackControl) -> None:
    stack.freeze("worker-delivery")


def _release_memory_sync(stack: StackControl) -> None:
    stack.thaw("worker-delivery")


SABOTAGES: dict[str, tuple[Callable[[StackControl], None], Callable[[StackControl], None]]] = {
    "hold-memory-sync": (_hold_memory_sync, _release_memory_sync),
}

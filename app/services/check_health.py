"""How the system is: every component asked side by side, none for longer than a second, the answer kept for two."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import Rejected, Retryable

BOUND_SECONDS = 1.0
KEPT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Component:
    """One component's state; `figures` stand beside the status in the answer."""

    status: str
    detail: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """`{status, detail?, ...figures}`."""
        return {"status": self.status, **({"detail": self.detail} if self.detail else {}), **self.figures}


Check = Callable[[], Component]


class Health:
    """`checks` by component; one that needs `vital` components down makes the whole down."""

    def __init__(self, checks: Mapping[str, Check], vital: frozenset[str] = frozenset({"postgres"})) -> None:
        self._checks = checks
        self._vital = vital
        self._pool = ThreadPoolExecutor(max_workers=len(checks), thread_name_prefix="health")
        self._running: dict[str, Future[Component]] = {}
        self._lock = threading.Lock()
        self._kept: dict[str, Component] = {}
        self._kept_until = 0.0

    def components(self) -> dict[str, Component]:
        """Every component's state, at most two seconds old."""
        with self._lock:
            if time.monotonic() >= self._kept_until:
                self._kept = self._ask_all()
                self._kept_until = time.monotonic() + KEPT_SECONDS
            return self._kept

    def overall(self, components: Mapping[str, Component]) -> str:
        """ok, degraded or down."""
        if any(components[name].status == "down" for name in self._vital):
            return "down"
        return "ok" if all(component.status == "ok" for component in components.values()) else "degraded"

    def _ask_all(self) -> dict[str, Component]:
        # A check that is still stuck from an earlier round is not asked again; one that came late is old news.
        for name, check in self._checks.items():
            if name not in self._running or self._running[name].done():
                self._running[name] = self._pool.submit(_answer, check)
        wait(self._running.values(), timeout=BOUND_SECONDS)
        return {name: self._collect(name) for name in self._checks}

    def _collect(self, name: str) -> Component:
        if not self._running[name].done():
            return Component("down", "no answer within a second")
        return self._running.pop(name).result()


def _answer(check: Check) -> Component:
    try:
        return check()
    except (Retryable, Rejected) as error:
        return Component("down", str(error))

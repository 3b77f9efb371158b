"""Bringing the parts up: each in a thread of its own that waits for those it depends on, so nothing waits in vain."""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager

from devstack import step
from devstack.faults import Interrupted
from devstack.keeper import Keeper
from devstack.life import State, Yard
from devstack.part import Part

Telling = Callable[[str, str], AbstractContextManager[None]]
_CALLED_OFF = "the start was called off"


class Launch:
    """One start of all parts. `telling(name, text)` wraps a step, to tell how long it took."""

    def __init__(
        self,
        parts: Collection[Part],
        keepers: Mapping[str, Keeper],
        yard: Yard,
        called_off: threading.Event,
        telling: Telling,
    ) -> None:
        self._parts = parts
        self._keepers = keepers
        self._yard = yard
        self._called_off = called_off
        self._telling = telling
        self._pool = ThreadPoolExecutor(max(1, len(parts)), thread_name_prefix="start")

    def run(self) -> None:
        """Return when every part is ready; the first failure ends the wait."""
        futures: dict[str, Future[None]] = {}
        for part in self._parts:
            earlier = [futures[name] for name in part.after if name in futures]
            futures[part.name] = self._pool.submit(self._bring_up, part, earlier)
        self._await(list(futures.values()))

    def close(self) -> None:
        """Wait for the threads, which end as soon as their parts have been ended."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _await(self, futures: list[Future[None]]) -> None:
        pending = True
        while pending:
            done, left = wait(futures, timeout=0.2, return_when=FIRST_EXCEPTION)
            if self._called_off.is_set():
                raise Interrupted(_CALLED_OFF)
            pending = bool(left)
            for future in done:
                future.result()

    def _bring_up(self, part: Part, earlier: list[Future[None]]) -> None:
        for future in earlier:
            future.result()
        if self._called_off.is_set():
            raise Interrupted(_CALLED_OFF)
        with self._telling(part.name, "done" if part.once else "ready"):
            part.prepare()
            if part.once:
                step.run(part, self._yard)
            else:
                self._keep(part)
            part.complete()

    def _keep(self, part: Part) -> None:
        keeper = self._keepers[part.name]
        keeper.start()
        keeper.wait_for(State.RUNNING, seconds=part.start_seconds + 5)

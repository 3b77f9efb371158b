"""`python -m devstack run`: the stack in the foreground, until Ctrl-C, `stop`, or the end of who started it."""

import os
import signal
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from devstack import tree
from devstack.console import Console
from devstack.control import Answer, ControlServer
from devstack.faults import CannotStart, Interrupted
from devstack.stack import Stack

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Foreground:
    """One stack with a console, signal handlers and a control socket."""

    def __init__(
        self, data_dir: Path, offset: int | None, only: Collection[str] | None, given: Mapping[str, str]
    ) -> None:
        self._console = Console()
        self._stack = Stack(data_dir, offset, only, given, self._console.take)
        self._over = threading.Event()
        self._parent = os.getppid()
        self._asked_at = 0.0

    def run(self, end_with_parent: bool) -> int:
        """The exit status: 0 after a wished end, 1 when the start failed."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        started = time.monotonic()
        try:
            self._stack.start()
            self._welcome(time.monotonic() - started)
            self._wait(end_with_parent)
        except Interrupted:
            self._console.line("called off")
        finally:
            self._end()
        return 0

    def _wait(self, end_with_parent: bool) -> None:
        control = ControlServer(self._stack.data_dir, self._handle)
        try:
            while not self._over.wait(1.0):
                if end_with_parent and os.getppid() != self._parent:
                    self._over.set()
        finally:
            control.close()

    def _end(self) -> None:
        """Ends what a failed start has not ended already."""
        asked_at = self._asked_at or time.monotonic()
        self._stack.stop()
        if self._over.is_set():
            self._console.line(f"everything has ended after {time.monotonic() - asked_at:.1f} s")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """The first signal ends in order; a second Ctrl-C kills at once."""
        if self._over.is_set() and number != signal.SIGINT:
            return  # whoever forwards signals may send one twice
        if self._over.is_set():
            threading.Thread(target=tree.kill, args=(self._stack.data_dir,), daemon=True).start()
            return
        self._asked_at = time.monotonic()
        self._over.set()  # before anybody reads that a second one means more
        self._console.line("ending; once more kills everything at once" if number == signal.SIGINT else "ending")
        self._stack.call_off()

    def _handle(self, command: str, name: str) -> Answer:
        if command == "status":
            return {"parts": {part: asdict(status) for part, status in self._stack.status().items()}}
        if command == "stop":
            self._over.set()
            return {}
        actions = {
            action.__name__: action
            for action in (
                self._stack.kill, self._stack.freeze, self._stack.thaw,
                self._stack.restart, self._stack.up, self._stack.down,
            )
        }  # fmt: skip
        if command not in actions:
            raise CannotStart(f"there is no command {command}")
        actions[command](name)
        return {}

    def _welcome(self, seconds: float) -> None:
        self._console.line(f"\nready after {seconds:.1f} s\n")
        for title, text in addresses(self._stack):
            self._console.line(f"  {title:<10} {text}")
        self._console.line(
            f"\n  data and logs in {self._stack.data_dir}; `python -m devstack status` from another terminal;"
            " Ctrl-C ends everything\n"
        )


def addresses(stack: Stack) -> list[tuple[str, str]]:
    """The table for a person: what answers where."""
    running = stack.status()
    rows: list[tuple[str, str]] = []
    if "webui" in running:
        rows.append(("page", stack.url("webui")))
    if "gateway" in running:
        rows += [("API docs", f"{stack.url('gateway')}/docs"), ("metrics", f"{stack.url('gateway')}/metrics")]
    if "flower" in running:
        user, _, password = stack.environment["FLOWER_BASIC_AUTH"].partition(":")
        rows.append(("Flower", f"{stack.url('flower')}  user {user}, password {password}"))
    if "model" in running:
        rows.append(("model", "the built-in toy, for trying the system out; set LLM_BASE_URL to use a real one"))
    return rows or [(name, stack.url(name)) for name in running]

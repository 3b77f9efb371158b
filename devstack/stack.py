"""The stack: every part of the system on one machine, for `make run`, for tests and for drills.

    with Stack(tmp_path, port_offset=None, only={"postgres", "redis"}) as stack:
        connect(stack.environment["POSTGRES_DSN"])
        stack.kill("redis")          # it comes back by itself

Nothing of it outlives the process that started it, however that process ends.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from devstack import kafka_server, plan, ports, tree
from devstack.faults import CannotStart
from devstack.guard import Guard
from devstack.journal import Journal
from devstack.keeper import Keeper
from devstack.launch import Launch
from devstack.life import State, Yard
from devstack.notes import Kind, Note, Report, silent
from devstack.part import Part
from devstack.place import Place, claim, read_secrets

# Who ends together, and how long they get before they are killed; 15 s must be enough on a busy machine too.
_STORES = frozenset({"postgres", "redis"})
_WAVES: tuple[tuple[Callable[[Part], bool], float], ...] = (
    (lambda part: not part.server and part.name != "brain", 5.0),
    (lambda part: part.name not in _STORES, 4.0),
    (lambda part: part.server, 3.0),
)


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part as it is now; `pid` is 0 while there is no process."""

    state: State
    pid: int
    restarts: int
    rss_bytes: int
    processes: int
    reason: str


class Stack:
    """Every server and process that is wanted and not given.

    `port_offset` shifts the default ports, `None` chooses free ones. `only` names the parts to start. `overrides` are
    settings for our processes; one that names a server (`POSTGRES_DSN`, …) replaces the embedded one. Settings in this
    process's own environment count for nothing: who wants them hands them in. A second worker beside the first
    (`worker-replicator-2`) starts only where `only` names it.
    """

    def __init__(
        self,
        data_dir: Path,
        port_offset: int | None,
        only: Collection[str] | None = None,
        overrides: Mapping[str, str] | None = None,
        report: Report = silent,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.ports: Mapping[str, int] = {}
        self.environment: dict[str, str] = {}
        self._only = only
        self._offset = port_offset
        self._given = dict(overrides or {})
        self._report = report
        self._keepers: dict[str, Keeper] = {}
        self._called_off = threading.Event()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- life

    def start(self) -> None:
        """Start everything behind its health gates, or nothing: on `CannotStart` all is ended again."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def call_off(self) -> None:
        """Make a `start` that is under way end with `Interrupted`, soon; for signal handlers."""
        self._called_off.set()

    def stop(self) -> None:
        """End everything in reverse order: doors and workers (warm), the brain, the servers. Within 15 s."""
        self._called_off.set()
        self._undo.close()

    def _start(self) -> None:
        self._called_off.clear()
        place, lock = claim(self.data_dir)
        self._undo.callback(os.close, lock)
        numbers = plan.choose_ports(self._offset, self._given)
        made = plan.make(place, numbers, read_secrets(self.data_dir), self._given, self._only)
        self.ports, self.environment = numbers, dict(made.settings)
        ports.check((part.name, port) for part in made.parts for port in part.ports)
        self._fetch(place, made.parts)
        guard = Guard(self.data_dir, lock)
        self._undo.callback(guard.dismiss)
        journal = Journal(place.logs, self._alarmed)
        self._undo.callback(journal.close)
        yard = Yard(self.data_dir, plan.child_environment(made.settings), journal, self._said)
        self._undo.callback(self._end_all)
        self._keepers = {part.name: Keeper(part, yard) for part in made.parts if not part.once}
        threading.Thread(target=self._watch, args=(guard,), name="guard-watch", daemon=True).start()
        self._bring_up(Launch(made.parts, self._keepers, yard, self._called_off, self._step))

    def _fetch(self, place: Place, parts: Collection[Part]) -> None:
        if any(part.name == "kafka" for part in parts) and not kafka_server.is_downloaded():
            with self._step("kafka", "downloaded"):
                kafka_server.download(place)

    def _bring_up(self, launch: Launch) -> None:
        try:
            launch.run()
        except BaseException:
            self._called_off.set()
            self._end_all()
            raise
        finally:
            launch.close()

    def _end_all(self) -> None:
        keepers = self._keepers.values()
        for chosen, seconds in _WAVES:
            self._end([keeper for keeper in keepers if chosen(keeper.part)], seconds)
        tree.kill(self.data_dir)

    def _end(self, keepers: list[Keeper], seconds: float) -> None:
        living = [keeper for keeper in keepers if keeper.state != State.ENDED]
        threads = [threading.Thread(target=keeper.end, args=(seconds,)) for keeper in living]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _watch(self, guard: Guard) -> None:
        while not self._called_off.wait(1.0):
            if guard.ensure():
                self._note(Kind.EVENT, "guard", "was gone; a new one is on duty")

    # --- commands

    def kill(self, name: str) -> None:
        """SIGKILL the part's whole tree; it comes back by itself, after a pause that grows."""
        self._keeper(name).kill()

    def freeze(self, name: str) -> None:
        """SIGSTOP the part's whole tree."""
        self._keeper(name).freeze()

    def thaw(self, name: str) -> None:
        """SIGCONT a frozen part."""
        self._keeper(name).thaw()

    def down(self, name: str) -> None:
        """End the part and keep it down."""
        self._keeper(name).down()

    def up(self, name: str) -> None:
        """Start a part that is down; returns when it is ready."""
        self._keeper(name).up()

    def restart(self, name: str) -> None:
        """End the part and start it again; returns when it is ready."""
        self._keeper(name).restart()

    def wait_ready(self, name: str, seconds: float = 60.0) -> None:
        """Wait until the part runs and its health gate is open."""
        self._keeper(name).wait_for(State.RUNNING, seconds=seconds)

    def status(self) -> dict[str, PartStatus]:
        """Every part as it is now."""
        found = tree.census(self.data_dir)
        return {name: _status(keeper, found.get(name, [])) for name, keeper in self._keepers.items()}

    def url(self, name: str) -> str:
        """Where a part answers: the setting's value where there is one, else its address on loopback."""
        variable = plan.SETTING_OF.get(name)
        if variable:
            return self.environment[variable]
        return f"http://127.0.0.1:{self.ports[name]}"

    def log(self, name: str) -> Path:
        """The file that holds what a part printed."""
        return self.data_dir / "logs" / f"{name}.log"

    def _keeper(self, name: str) -> Keeper:
        if name not in self._keepers:
            raise CannotStart(f"there is no {name} in this stack; it has {', '.join(self._keepers)}")
        return self._keepers[name]

    # --- telling

    @contextlib.contextmanager
    def _step(self, name: str, text: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._note(Kind.STEP, name, text, time.monotonic() - started)

    def _alarmed(self, name: str, line: str) -> None:
        """A worrying line; while everything is being ended nobody wants to know who complains of that."""
        if not self._called_off.is_set():
            self._note(Kind.ALARM, name, line)

    def _said(self, name: str, text: str) -> None:
        self._note(Kind.EVENT, name, text)

    def _note(self, kind: Kind, name: str, text: str, seconds: float = 0.0) -> None:
        self._report(Note(kind, name, text, seconds))


def _status(keeper: Keeper, processes: list[psutil.Process]) -> PartStatus:
    return PartStatus(
        state=keeper.state,
        pid=keeper.pid,
        restarts=keeper.restarts,
        rss_bytes=tree.resident_bytes(processes),
        processes=len(processes),
        reason=keeper.reason,
    )

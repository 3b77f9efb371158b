"""The stack that the campaign stands on: its own, restarted only when a fault needs other settings."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from devstack.notes import Kind, Note
from devstack.place import is_locked
from devstack.stack import Stack
from drills.links import LinkedStack, linked
from drills.model_peer import ModelPeer
from drills.opa_peer import OpaPeer
from drills.record import mark_of
from drills.report import Timeline
from drills.tool_faults import MODULES

# The line that the drills speak about; the page, Flower and the tools would only make the start slower.
PARTS = (
    *("postgres", "redis", "kafka", "migrations"),
    *("brain", "gateway", "beat", "worker-conversation", "worker-delivery", "worker-replicator"),
)
SECONDS = ("worker-conversation-2", "worker-replicator-2", "worker-tools")
Room = Callable[[Path], AbstractContextManager[None]]
SLOW_PAUSE, QUICK_PAUSE = 0.08, 0.004
SLOW_EVERY_SECONDS = 0.6


def pace_at(rate: float) -> Callable[[str], float]:
    """About a second for as many answers as make 1.7 of them a second at this rate, of three at most one, so that
    kills land in the middle of answers and the workers' threads suffice; the others are quick.
    """
    each = max(3, round(SLOW_EVERY_SECONDS * rate))
    return lambda text: SLOW_PAUSE if int(mark_of(text)[1:] or "0") % each == 0 else QUICK_PAUSE


class NotOurs(Exception):
    """The folder belongs to a stack that the drill did not start; it breaks only what is its own."""


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder in which a stack keeps its data, above all a running one."""
    if is_locked(folder):
        raise NotOurs(f"a stack runs on {folder}; a drill breaks only a stack that it has started itself")
    if (folder / "stack.json").exists():
        raise NotOurs(f"{folder} holds the data of a stack that is not the drill's; name another folder with --data")


class Ground:
    """Hands out a running stack with the settings that are wanted."""

    def __init__(
        self, folder: Path, timeline: Timeline, rate: float, settings: Mapping[str, str] | None = None
    ) -> None:
        self.model: ModelPeer
        """The scripted model of the stack that runs; there is none before `stack_with`."""
        self.opa: OpaPeer | None = None
        self._folder = folder
        self._timeline = timeline
        self._pace = pace_at(rate)
        self._settings = dict(settings or {})
        self._life = ExitStack()
        self._stack: Stack | LinkedStack | None = None
        self._layout: tuple[Mapping[str, str], bool, Room | None, bool] | None = None
        self._number = 0

    def stack_with(
        self, overrides: Mapping[str, str], linked: bool = False, room: Room | None = None, decided: bool = False
    ) -> Stack | LinkedStack:
        """The stack as it runs, or a new one where its settings, links, room or who decides are not as wanted."""
        layout = (dict(overrides), linked, room, decided)
        if self._stack is None or self._layout != layout:
            self.close()
            self._stack = self._open(overrides, linked, room, decided)
            self._layout = layout
        return self._stack

    def _open(
        self, overrides: Mapping[str, str], with_links: bool, room: Room | None, decided: bool
    ) -> Stack | LinkedStack:
        self._number += 1
        folder = self._folder / f"stack-{self._number}"
        self._timeline.say("stack", f"starting one of its own in {folder} {dict(overrides) or ''}")
        if room is not None:
            self._life.enter_context(room(folder))
        self.model = self._life.enter_context(ModelPeer(self._pace))
        self.opa = self._life.enter_context(OpaPeer()) if decided else None
        decides = {"OPA_URL": self.opa.url} if self.opa else {}
        given = {"LLM_BASE_URL": self.model.url, "TOOL_MODULES": MODULES, **decides, **self._settings, **overrides}
        parts = (*PARTS, *SECONDS)
        stack: Stack | LinkedStack = self._life.enter_context(
            linked(folder, parts, given, self._told)
            if with_links
            else Stack(folder, None, only=parts, overrides=given, report=self._told)
        )
        for part in SECONDS:
            stack.down(part)
        self._timeline.say("stack", "ready")
        return stack

    def _told(self, note: Note) -> None:
        if note.kind is Kind.EVENT:
            self._timeline.say("stack", f"{note.name}: {note.text}"[:160])

    def close(self) -> None:
        """End the stack that runs; the next one begins anew."""
        self._stack, self._layout = None, None
        self._life.close()

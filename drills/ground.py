"""The stack that the campaign stands on: its own, restarted only when a fault needs other settings."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from devstack.notes import Kind, Note
from devstack.place import is_locked
from devstack.stack import Stack
from drills.model_peer import ModelPeer
from drills.record import mark_of
from drills.report import Timeline

# The line that the drills speak about; the page, Flower and the tools would only make the start slower.
PARTS = (
    *("postgres", "redis", "kafka", "migrations"),
    *("brain", "gateway", "beat", "worker-conversation", "worker-delivery", "worker-replicator"),
)
SECONDS = ("worker-conversation-2", "worker-replicator-2")
SLOW_PAUSE, QUICK_PAUSE = 0.08, 0.004


def pace(text: str) -> float:
    """Every third answer takes about a second, so that kills land in the middle of answers; the others are quick."""
    number = mark_of(text)[1:] or "0"
    return SLOW_PAUSE if int(number) % 3 == 0 else QUICK_PAUSE


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

    def __init__(self, folder: Path, timeline: Timeline) -> None:
        self.model = ModelPeer(pace)
        self._folder = folder
        self._timeline = timeline
        self._life = ExitStack()
        self._stack: Stack | None = None
        self._overrides: Mapping[str, str] | None = None
        self._number = 0

    def stack_with(self, overrides: Mapping[str, str]) -> Stack:
        """The stack as it runs, or a new one where these settings are not in force."""
        if self._stack is None or self._overrides != overrides:
            self.close()
            self._stack = self._open(overrides)
            self._overrides = dict(overrides)
        return self._stack

    def _open(self, overrides: Mapping[str, str]) -> Stack:
        self._number += 1
        folder = self._folder / f"stack-{self._number}"
        self._timeline.say("stack", f"starting one of its own in {folder} {dict(overrides) or ''}")
        self.model = self._life.enter_context(ModelPeer(pace))
        given = {"LLM_BASE_URL": self.model.url, **overrides}
        stack = Stack(folder, None, only=(*PARTS, *SECONDS), overrides=given, report=self._told)
        self._life.enter_context(stack)
        for part in SECONDS:
            stack.down(part)
        self._timeline.say("stack", "ready")
        return stack

    def _told(self, note: Note) -> None:
        if note.kind is Kind.EVENT:
            self._timeline.say("stack", f"{note.name}: {note.text}"[:160])

    def close(self) -> None:
        """End the stack that runs; the next one begins anew."""
        self._stack, self._overrides = None, None
        self._life.close()

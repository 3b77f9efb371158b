"""What tool calls need from the world, as roles; each is implemented by one adapter and one fake."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from app.domain.conversation import Receipt, RequestKey
from app.domain.events import NewEvent, SessionEvent
from app.domain.memory import Place
from app.domain.tools import ToolCall, ToolEnd, ToolRequest


class ToolRequests(Protocol):
    """Keeps tool calls that somebody asks for."""

    def accept(self, request: ToolRequest, key: RequestKey | None) -> tuple[Receipt, Sequence[SessionEvent]]:
        """One transaction, one commit: the call and its event are kept, or nothing is (`StoreUnavailable`)."""


class ToolCalls(Protocol):
    """The calls that a tools worker owes."""

    def working_on(self, call_id: str) -> AbstractContextManager[None]:
        """While the block runs, a lease on this call is renewed."""

    def claim(self, call_id: str) -> ToolCall | None:
        """This call, leased and one more run counted; None when it has ended, is not due, or another's."""

    def note(self, call: ToolCall, event: NewEvent) -> SessionEvent:
        """Append an event that does not end the call. `LeaseLost` when another owns it."""

    def finish(self, call: ToolCall, event: NewEvent, end: ToolEnd, memory_place: Place | None) -> SessionEvent:
        """One transaction: the result and last state, the ending event and, with a place, the result's memory."""

    def give_back(self, call: ToolCall, begun: bool) -> None:
        """Due again now; where the tool had not begun, the run is not counted."""

    def postpone(self, call: ToolCall, seconds: float, reason: str) -> None:
        """Due again after a pause."""

    def wait(self, call: ToolCall, seconds: float, reason: str) -> None:
        """Due again after a pause, untouched: the tool had not begun, and neither a run nor a failure is counted."""

    def survived(self, call: ToolCall) -> None:
        """This claim was lost, or could not be ended, and its worker lives: it is no death. Never raises."""

    def due(self, limit: int) -> list[str]:
        """Calls that could be claimed now, oldest first."""


class How(StrEnum):
    """How one run of a tool came to its end."""

    ANSWERED = "answered"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One run: `value` is what the tool answered, `reason` says in words why it did not."""

    how: How
    seconds: float
    value: Any = None
    reason: str = ""


class ToolRunner(Protocol):
    """Runs tools where they can harm nobody's process."""

    def run(self, call: ToolCall, stopping: Callable[[], bool], grace_seconds: float) -> ToolRun:
        """Run to the end, to the runner's own time limit, or until `grace_seconds` after `stopping` began to say so.
        Never raises for what a tool does; when it returns, nothing of the run is left.
        """


class CallersMemories(Protocol):
    """The memories of whoever asked for a call: of its tenant, in its place."""

    def remember(self, call: ToolCall, content: str, tags: Sequence[str]) -> dict[str, Any]:
        """Keep it, once for each call however often it runs; as JSON data, how it stands."""

    def recall(self, call: ToolCall, query: str, top_k: int) -> dict[str, Any]:
        """At most so many memories that answer this, as JSON data."""

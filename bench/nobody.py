"""A doorbell, a broadcast and notes for benchmarks of one piece of work: nobody listens."""

from collections.abc import Mapping
from typing import Any

from app.routing import TaskName


class NobodyHears:
    """`Doorbell`, `Broadcast` and `HealthNotes` that cost nothing."""

    def ring(self, task: TaskName, *ids: str, expires: float | None = None) -> None:
        """Nobody comes."""

    def waiting(self, _task: TaskName) -> int:
        """Nobody waits."""
        return 0

    def publish(self, session_id: str, item: Mapping[str, Any]) -> None:
        """Nobody looks."""

    def note(self, component: str, status: str, detail: str) -> None:
        """Nobody reads."""

"""What clients did and were told, one JSON line per happening: invoke, then ok, fail or unknown.

The file is the drill's only memory of the load. The checker reads it back from disk, so what it judges is what was
written down at the time, not what the load generator believes afterwards.
"""

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["ok", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended; `unknown` means that no answer came, so the message may or may not have been taken."""

    kind: Kind
    at: float
    seconds: float
    status: int | None = None
    event_id: str | None = None
    retry_after: bool = False


@dataclass(slots=True)
class Message:
    """One message with everything that was tried and told; all attempts carry the same `Idempotency-Key`."""

    key: str
    session_id: str
    text: str
    sent_at: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether any attempt was answered with success."""
        return any(outcome.kind == "ok" for outcome in self.outcomes)

    @property
    def refused(self) -> bool:
        """Whether every attempt was answered and none with success: such a message must not exist."""
        return bool(self.outcomes) and len(self.outcomes) == len(self.sent_at) and self._only("fail")

    @property
    def event_ids(self) -> set[str]:
        """The ids that the client was given; more than one is a doubled effect."""
        return {outcome.event_id for outcome in self.outcomes if outcome.event_id}

    def _only(self, kind: Kind) -> bool:
        return all(outcome.kind == kind for outcome in self.outcomes)


class Recorder:
    """Appends happenings to a file, safely from many threads; each line is on disk before `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def write(self, op: str, key: str, **fields: Any) -> None:
        """Add one line; the time is taken here."""
        line = json.dumps({"op": op, "at": time.time(), "key": key, **fields}, ensure_ascii=False)
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        """Close the file; nothing may be written afterwards."""
        with self._lock:
            self._file.close()


def read_journal(lines: Iterable[str]) -> list[Message]:
    """The messages of a journal in the order in which they were first sent."""
    messages: dict[str, Message] = {}
    for line in lines:
        entry = json.loads(line)
        if entry["op"] == "invoke":
            message = messages.setdefault(entry["key"], Message(entry["key"], entry["session_id"], entry["text"]))
            message.sent_at.append(entry["at"])
        else:
            messages[entry["key"]].outcomes.append(_outcome(entry))
    return list(messages.values())


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    return Outcome(
        kind=entry["op"],
        at=entry["at"],
        seconds=entry["seconds"],
        status=entry.get("status"),
        event_id=entry.get("event_id"),
        retry_after=bool(entry.get("retry_after")),
    )

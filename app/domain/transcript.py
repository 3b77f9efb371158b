"""A conversation as it was said, and what is kept of its older part."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.domain.conversation import Turn
from app.domain.dialogue import Utterance


@dataclass(frozen=True, slots=True)
class Line:
    """A message or an answer; lines stand in the order of their turns, an answer behind its message."""

    event_id: str
    turn_seq: int
    role: str
    text: str

    @property
    def utterance(self) -> Utterance:
        """As a model reads it."""
        return Utterance(self.role, self.text)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was said in all turns up to `to_turn`, in short; `event_ids` are the lines that it added to the summary
    before it, so that all of a session's summaries together name every line they cover.
    """

    text: str
    to_turn: int
    event_ids: tuple[str, ...]
    source: str


class Transcripts(Protocol):
    """What was said in sessions. Answers that were stopped count as far as they came; what was replaced does not."""

    def newest(self, session_id: str, up_to_turn: int, limit: int) -> list[Line]:
        """The last lines of all turns up to this one, oldest first."""

    def following(self, session_id: str, after_turn: int, limit: int) -> list[Line]:
        """The first lines of all turns after this one, oldest first."""

    def latest(self, session_id: str) -> Turn | None:
        """The session's last turn as its message asked for it, whoever answers it or has answered it."""

    def summary(self, session_id: str, before_turn: int) -> Summary | None:
        """The newest summary that covers nothing from `before_turn` on."""

    def keep_summary(self, session_id: str, summary: Summary) -> bool:
        """Keep it; false where the session has one up to this turn already, or is gone."""

    def replaced(self, event_ids: Collection[str]) -> Collection[str]:
        """Those of these that others have taken the place of."""

    def brought(self, session_id: str, turn_seq: int) -> Mapping[str, Any] | None:
        """What the last `context.update` of this turn said."""


def whole_turns(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines, turn by turn."""
    turns: list[list[Line]] = []
    for line in lines:
        if turns and turns[-1][-1].turn_seq == line.turn_seq:
            turns[-1].append(line)
        else:
            turns.append([line])
    return turns

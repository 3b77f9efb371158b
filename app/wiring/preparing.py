"""What preparing a turn needs: in the process that answers it, and in the one that shows how it would."""

from app.adapters.http.brain import HttpBrain
from app.adapters.sql.patience import Patience, within
from app.adapters.sql.transcripts import SqlTranscripts
from app.domain.recall import Question
from app.services.bring_memories import RECALL_SECONDS, Reminder
from app.services.prepare_turn import Preparation
from app.services.recall_memories import Recalled, recall_memories
from app.wiring.modelling import corrections_of, roster_of
from app.wiring.process import Process
from app.wiring.remembering import recall_of
from app.wiring.tooling import tooling_of

_BRAIN_SECONDS = 0.2
"""Of the time that recall has; the rest is for our own stores."""


def preparation_of(process: Process) -> Preparation:
    """On this process's connections."""
    settings = process.settings
    return Preparation(
        roster_of(process),
        SqlTranscripts(process.engine),
        settings.system_prompt,
        _reminder_of(process),
        corrections_of(process),
        tooling_of(settings),
    )


def _reminder_of(process: Process) -> Reminder | None:
    settings, defaults = process.settings, process.memory_defaults
    if defaults is None:
        return None
    brain = HttpBrain.from_settings(settings, most_seconds=_BRAIN_SECONDS)
    recall = recall_of(process, brain, _BRAIN_SECONDS)
    patience = Patience(greeting_seconds=RECALL_SECONDS, seconds=RECALL_SECONDS)

    def in_time(question: Question) -> Recalled:
        with within(patience):
            return recall_memories(question, recall)

    return Reminder(in_time, SqlTranscripts(process.engine).replaced, defaults.universe, defaults.namespace)

"""What a conversation worker needs, and how it gives one turn a process of its own."""

from collections.abc import Mapping
from typing import Any

from app.adapters.http.model import OpenAIModel
from app.adapters.own_process import OwnProcess
from app.adapters.sql.turns import SqlTurns
from app.domain.conversation import Turn, Usage
from app.services.converse import Conversation, Meter, ModelWindow
from app.wiring.process import Process


def conversation_of(process: Process, meter: Meter) -> Conversation:
    """The parts of a turn, on this process's connections and leases."""
    settings, defaults = process.settings, process.memory_defaults
    return Conversation(
        turns=SqlTurns(process.engine, process.presence, settings.lease_seconds),
        model=OpenAIModel(settings),
        broadcast=process.broadcast,
        doorbell=process.doorbell,
        clock=process.clock,
        notes=process.notes,
        window=ModelWindow(settings.system_prompt, settings.llm_context_tokens, settings.llm_max_output_tokens),
        memories=(defaults.universe, defaults.namespace) if defaults else None,
        alone=_InOwnProcess(OwnProcess("app.wiring.alone"), meter),
        meter=meter,
    )


class _InOwnProcess:
    """Answers a turn in a process of its own and measures as if it had been done here."""

    def __init__(self, run: OwnProcess, meter: Meter) -> None:
        self._run = run
        self._meter = meter

    def __call__(self, turn: Turn) -> str:
        said: Mapping[str, Any] = self._run(turn)
        for seconds in said["first_pieces"]:
            self._meter.first_piece(seconds)
        for spent in said["spent"]:
            self._meter.spent(Usage(**spent))
        return str(said["outcome"])

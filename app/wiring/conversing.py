"""What a conversation worker needs."""

from collections.abc import Callable

from app.adapters.http.model import OpenAIModel
from app.adapters.sql.turns import SqlTurns
from app.domain.conversation import Turn
from app.services.converse import Conversation, Meter, ModelWindow
from app.wiring.process import Process


def conversation_of(process: Process, meter: Meter, alone: Callable[[Turn], str]) -> Conversation:
    """The parts of a turn, on this process's connections and leases; `alone` gives one a process of its own."""
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
        alone=alone,
        present=process.presence.is_known,
        meter=meter,
    )

"""What a conversation worker needs."""

from app.adapters.http.model import OpenAIModel
from app.adapters.sql.turns import SqlTurns
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
        meter=meter,
    )

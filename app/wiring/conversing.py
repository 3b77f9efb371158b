"""What a conversation worker needs."""

from collections.abc import Callable

from app.adapters.scribe import SharedScribe
from app.adapters.sql.transcripts import SqlTranscripts
from app.adapters.sql.turns import SqlTurns
from app.adapters.stop_watch import StopWatch
from app.domain.conversation import Turn
from app.services.conversation import Conversation, Meter
from app.services.spend import Purse
from app.services.summarize_session import Minutes
from app.wiring.deciding import policy_of
from app.wiring.modelling import corrections_of, model_of, roster_of
from app.wiring.preparing import preparation_of
from app.wiring.process import Process


def conversation_of(process: Process, meter: Meter, alone: Callable[[Turn], str]) -> Conversation:
    """The parts of a turn, on this process's connections and leases; `alone` gives one a process of its own."""
    settings, defaults = process.settings, process.memory_defaults
    settings.require("llm_base_url")
    turns = SqlTurns(process.engine, process.presence, settings.lease_seconds)
    preparation = preparation_of(process)
    return Conversation(
        turns=turns,
        model=model_of(process),
        broadcast=process.broadcast,
        doorbell=process.doorbell,
        clock=process.clock,
        notes=process.notes,
        preparation=preparation,
        memories=(defaults.universe, defaults.namespace) if defaults else None,
        alone=alone,
        stops=StopWatch(turns.asked_to_stop),
        scribe=SharedScribe(turns.save_partials),
        policy=policy_of(settings, process.clock),
        present=process.presence.is_known,
        meter=meter,
        paying=purse_of(process, meter).paying,
    )


def purse_of(process: Process, meter: Meter) -> Purse:
    """What calls of models are paid from."""
    return Purse(process.spending, process.clock, corrections_of(process), meter.refused)


def minutes_of(process: Process, meter: Meter) -> Minutes:
    """The parts of a summary."""
    transcripts, paying = SqlTranscripts(process.engine), purse_of(process, meter).paying
    return Minutes(transcripts, roster_of(process), model_of(process), paying)

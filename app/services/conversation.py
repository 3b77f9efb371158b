"""What answering a turn needs: the parts that a worker puts together once."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.backoff import Backoff
from app.domain.conversation import Turn
from app.domain.conversation_control import Stops
from app.domain.dialogue import Usage
from app.domain.kept_text import Scribe
from app.domain.model_ports import Model
from app.domain.policy import Policy
from app.domain.ports import Broadcast, Clock, Doorbell, HealthNotes, Turns
from app.services.prepare_turn import Preparation
from app.services.spend import Paying, free_of_charge


@dataclass(frozen=True, slots=True)
class Meter:
    """Who is told the seconds from the claim to the answer's first piece, and the tokens that the model reported."""

    first_piece: Callable[[float], None] = lambda _: None
    spent: Callable[[Usage], None] = lambda _: None
    refused: Callable[[str], None] = lambda _: None
    """Told the dimension of a budget that did not suffice."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a turn needs. `memories` holds the default universe and namespace, None when memories are off.

    `alone` answers a turn in a process that it has for itself, and raises `ProcessDied` when that process did.
    """

    turns: Turns
    model: Model
    broadcast: Broadcast
    doorbell: Doorbell
    clock: Clock
    notes: HealthNotes
    preparation: Preparation
    memories: tuple[str, str] | None
    alone: Callable[[Turn], str]
    stops: Stops
    policy: Policy
    scribe: Scribe
    present: Callable[[], bool] = lambda: True
    """Whether everybody can see that this worker lives; before that its claims would be ended like a dead one's."""
    backoff: Backoff = field(default_factory=Backoff)
    meter: Meter = field(default_factory=Meter)
    paying: Paying = free_of_charge

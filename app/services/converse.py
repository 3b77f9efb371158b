"""Step 4 of the line: one turn of a conversation, from the claim to the committed answer.

Every attempt is the same function; what it writes is fenced by its lease, so a second one running beside it can
only lose.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.domain.backoff import Backoff
from app.domain.conversation import Answer, Turn, Usage, Utterance, fit_window
from app.domain.errors import LeaseLost, ModelRefused, ModelUnavailable, ProcessDied, StoreUnavailable
from app.domain.events import LOOK, EventType, NewEvent, envelope, live_item
from app.domain.leases import ALONE_AFTER_DEATHS
from app.domain.memory import Place, place_of
from app.domain.ports import Broadcast, Clock, Doorbell, HealthNotes, Model, Piece, Turns
from app.domain.stream import Delta
from app.routing import TaskName
from app.services.insist import insist
from app.services.survive import surviving

MAX_MODEL_FAILURES = 5
PARTIAL_SECONDS = 0.2
_HISTORY_LINES = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelWindow:
    """What a model is given: who it is, and how many tokens fit in and may come out."""

    system_prompt: str
    context_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Meter:
    """Who is told the seconds from the claim to the answer's first piece, and the tokens that the model reported."""

    first_piece: Callable[[float], None] = lambda _: None
    spent: Callable[[Usage], None] = lambda _: None


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
    window: ModelWindow
    memories: tuple[str, str] | None
    alone: Callable[[Turn], str]
    present: Callable[[], bool] = lambda: True
    """Whether everybody can see that this worker lives; before that its claims would be ended like a dead one's."""
    backoff: Backoff = field(default_factory=Backoff)
    meter: Meter = field(default_factory=Meter)


class _Cancelled(Exception):
    """Somebody asked to stop; carries what was said so far."""


def converse(event_id: str, conversation: Conversation) -> str:
    """Answer this message if it is due and nobody else does; returns what became of it, in a word."""
    if not conversation.present():
        return "nothing to do"
    with conversation.turns.working_on(event_id):
        turn = conversation.turns.claim(event_id)
        if turn is None:
            return "nothing to do"
        try:
            with surviving(lambda: conversation.turns.survived(turn)):
                return _alone(turn, conversation) if turn.deaths >= ALONE_AFTER_DEATHS else attempt(turn, conversation)
        except LeaseLost:
            # Somebody else ended it, or our own commit came through unheard: either way readers have to look.
            conversation.broadcast.publish(turn.session_id, LOOK)
            return "lease lost"


def _alone(turn: Turn, conversation: Conversation) -> str:
    """Answer a suspect, with which workers died before, where it can take nothing else along."""
    try:
        return conversation.alone(turn)
    except ProcessDied as error:
        _log.warning("turn %s: %s", turn.event_id, error)
        conversation.turns.lose(turn, str(error))
        conversation.doorbell.ring(TaskName.RESPOND, turn.event_id)
        return "died"


def attempt(turn: Turn, conversation: Conversation) -> str:
    """One attempt at a claimed turn, in this process; `LeaseLost` when it belongs to somebody else by now."""
    try:
        answer = _answer(turn, conversation)
    except _Cancelled:
        return _end(turn, conversation, EventType.CANCELLED, "cancelled", "You stopped this answer.")
    except ModelUnavailable as error:
        conversation.notes.note("model", "down", str(error))
        return _try_again_or_give_up(turn, conversation, error)
    except ModelRefused as error:
        conversation.notes.note("model", "degraded", str(error))
        return _end(turn, conversation, EventType.ERROR, "failed", str(error))
    conversation.notes.note("model", "ok", "")
    return _finish(turn, conversation, answer)


def _answer(turn: Turn, conversation: Conversation) -> Answer:
    began = conversation.clock.monotonic()
    begun = _announce(turn, conversation)
    window = conversation.window
    said = conversation.turns.history(turn, _HISTORY_LINES)
    lines = [Utterance("system", window.system_prompt), *said]
    pieces = conversation.model.stream(fit_window(lines, window.context_tokens, window.output_tokens), turn.traceparent)
    return _listen(turn, begun, _timed(pieces, began, conversation), conversation)


def _timed(pieces: Iterator[Piece], began: float, conversation: Conversation) -> Iterator[Piece]:
    for number, piece in enumerate(pieces):
        if number == 0:
            conversation.meter.first_piece(conversation.clock.monotonic() - began)
        yield piece


def _announce(turn: Turn, conversation: Conversation) -> int:
    event_id = f"{turn.event_id}:thinking:{turn.attempts}"
    thinking = NewEvent(event_id, EventType.THINKING, "assistant", "", {"attempt": turn.attempts})
    noted = conversation.turns.note(turn, thinking)
    conversation.broadcast.publish(turn.session_id, envelope(noted))
    return noted.seq


def _listen(turn: Turn, begun: int, pieces: Iterator[Piece], conversation: Conversation) -> Answer:
    text, saved_at = "", conversation.clock.monotonic()
    for piece in pieces:
        if piece.answer is not None:
            conversation.meter.spent(piece.answer.usage)
            return piece.answer
        _show(turn, Delta(begun, turn.attempts, len(text), piece.text), conversation)
        text += piece.text
        if conversation.clock.monotonic() - saved_at >= PARTIAL_SECONDS:
            _save(turn, conversation, text)
            saved_at = conversation.clock.monotonic()
    raise ModelUnavailable("The model broke off in the middle of its answer.")


def _show(turn: Turn, piece: Delta, conversation: Conversation) -> None:
    metadata = {"offset": piece.offset, "attempt": piece.attempt}
    item = live_item(turn.session_id, EventType.DELTA, piece.text, metadata, conversation.clock.now())
    conversation.broadcast.publish(turn.session_id, item | {"after": piece.after})


def _save(turn: Turn, conversation: Conversation, text: str) -> None:
    try:
        asked_to_stop = conversation.turns.save_partial(turn, text)
    except StoreUnavailable as error:
        # The answer goes on: the end is what must be kept, and keeping it is tried for longer.
        _log.warning("partial text not kept: %s", error)
        return
    if asked_to_stop:
        raise _Cancelled


def _finish(turn: Turn, conversation: Conversation, answer: Answer) -> str:
    metadata = {
        "status": "completed",
        "source": answer.source,
        "attempt": turn.attempts,
        "usage": {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens},
    }
    final = NewEvent(f"{turn.event_id}:answer", EventType.FINAL, "assistant", answer.text, metadata)
    _close(turn, conversation, final, "done", _place(turn, conversation))
    conversation.doorbell.ring(TaskName.SYNC_MEMORIES)
    return "done"


def _place(turn: Turn, conversation: Conversation) -> Place | None:
    return place_of(turn.tenant, turn.metadata, *conversation.memories) if conversation.memories else None


def _end(turn: Turn, conversation: Conversation, kind: EventType, state: str, reason: str) -> str:
    _close(turn, conversation, NewEvent(f"{turn.event_id}:answer", kind, "assistant", "", {"reason": reason}), state)
    return state


def _close(
    turn: Turn, conversation: Conversation, event: NewEvent, state: str, memory_place: Place | None = None
) -> None:
    # An answer that took a minute is worth waiting for Postgres.
    ended = insist(lambda: conversation.turns.finish(turn, event, state, memory_place), conversation.clock)
    conversation.broadcast.publish(turn.session_id, envelope(ended))
    following = conversation.turns.next_due(turn.session_id)
    if following is not None:
        conversation.doorbell.ring(TaskName.RESPOND, following)


def _try_again_or_give_up(turn: Turn, conversation: Conversation, error: ModelUnavailable) -> str:
    if turn.failures + 1 >= MAX_MODEL_FAILURES:
        reason = f"{error} It was tried {turn.failures + 1} times. Send the message again when the model is back."
        return _end(turn, conversation, EventType.ERROR, "failed", reason)
    pause = error.retry_after or conversation.backoff.pause(turn.failures, 0.5)
    conversation.turns.postpone(turn, pause, str(error))
    return "postponed"

"""Step 4 of the line: one turn of a conversation, from the claim to the committed answer.

Every attempt is the same function; what it writes is fenced by its lease, so a second one running beside it can
only lose.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.domain.backoff import Backoff
from app.domain.conversation import Turn
from app.domain.conversation_control import Stop, Why
from app.domain.dialogue import Answer, ToolAsk
from app.domain.endings import answered, cancelled, denied, late
from app.domain.errors import (
    BudgetSpent,
    LeaseLost,
    ModelRefused,
    ModelUnavailable,
    PolicyDenied,
    PolicyUnavailable,
    ProcessDied,
)
from app.domain.events import LOOK, EventType, NewEvent, SessionEvent, envelope
from app.domain.leases import ALONE_AFTER_DEATHS
from app.domain.memory import Place, place_of
from app.domain.policy import may_respond
from app.domain.tool_loop import spent
from app.routing import TaskName
from app.services.ask_policy import demand
from app.services.conversation import Conversation
from app.services.escalate import ask_chosen
from app.services.insist import insist
from app.services.listen import Stopped, listen, timed, until
from app.services.plan_step import asks_for_the_caller, plan_step
from app.services.prepare_turn import prepare_turn
from app.services.survive import surviving

MAX_MODEL_FAILURES = 5
_WAITING = Backoff(cap=10.0)
"""Between two questions of a turn that waits for a decision."""
_log = logging.getLogger(__name__)


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
    question = may_respond(turn)
    try:
        demand(question, conversation.policy)
    except PolicyDenied as error:
        _close(turn, conversation, denied(turn, question, str(error)), "failed")
        return "denied"
    except PolicyUnavailable as error:
        conversation.turns.wait(turn, _WAITING.pause(turn.attempts - 1, 0.5), str(error))
        return "undecided"
    return _attempt_allowed(turn, conversation)


def _attempt_allowed(turn: Turn, conversation: Conversation) -> str:
    try:
        with conversation.stops.heard(turn.event_id) as stop:
            answer = _answer(turn, conversation, stop)
    except Stopped as stopped:
        return _end_early(turn, conversation, stopped)
    except BudgetSpent as error:
        return _fail(turn, conversation, str(error), budget=error.budget)
    except ModelUnavailable as error:
        conversation.notes.note("model", "down", str(error))
        return _try_again_or_give_up(turn, conversation, error)
    except ModelRefused as error:
        conversation.notes.note("model", "degraded", str(error))
        return _fail(turn, conversation, str(error))
    conversation.notes.note("model", "ok", f"{answer.source} answers")
    return _go_on(turn, conversation, answer)


def _answer(turn: Turn, conversation: Conversation, stop: Stop) -> Answer:
    began = conversation.clock.monotonic()
    begun = _announce(turn, conversation)
    taken = conversation.turns.steps(turn) if turn.steps else []
    prepared = prepare_turn(turn, conversation.preparation, lambda event: _note(turn, event, conversation), taken)
    if prepared.window.is_cut:
        conversation.doorbell.ring(TaskName.SUMMARIZE, turn.session_id, turn.tenant)
    with conversation.paying(turn, conversation.model) as model:
        pieces = ask_chosen(prepared.choice, prepared.call, stop, model)
        answer = listen(turn, begun, until(stop, timed(pieces, began, conversation)), conversation)
    return replace(answer, usage=spent(taken, answer.usage))


def _announce(turn: Turn, conversation: Conversation) -> int:
    event_id = f"{turn.event_id}:thinking:{turn.attempts}"
    thinking = NewEvent(event_id, EventType.THINKING, "assistant", "", {"attempt": turn.attempts})
    return _note(turn, thinking, conversation).seq


def _note(turn: Turn, event: NewEvent, conversation: Conversation) -> SessionEvent:
    noted = conversation.turns.note(turn, event)
    conversation.broadcast.publish(turn.session_id, envelope(noted))
    return noted


def _go_on(turn: Turn, conversation: Conversation, answer: Answer) -> str:
    """To the end of the turn, or to the tools that the answer asks for."""
    callers = asks_for_the_caller(turn, answer)
    if answer.asks and not callers:
        if turn.steps < conversation.preparation.tooling.max_steps:
            return _take_step(turn, conversation, answer)
        if not answer.text:
            return _fail(turn, conversation, "The model went on asking for tools and gave no answer.")
    return _finish(turn, conversation, answer, callers)


def _take_step(turn: Turn, conversation: Conversation, answer: Answer) -> str:
    plan = plan_step(turn, answer, conversation.preparation.tooling)
    queued = insist(lambda: conversation.turns.take_step(turn, plan), conversation.clock)
    for event in queued:
        conversation.broadcast.publish(turn.session_id, envelope(event))
    for call in plan.calls:
        conversation.doorbell.ring(TaskName.EXECUTE_TOOL, call.call_id)
    if not plan.calls:
        conversation.doorbell.ring(TaskName.RESPOND, turn.event_id)
    return "waits for tools"


def _finish(turn: Turn, conversation: Conversation, answer: Answer, for_the_caller: Sequence[ToolAsk]) -> str:
    place = _place(turn, conversation) if answer.text else None
    _close(turn, conversation, answered(turn, answer, for_the_caller), "done", place)
    conversation.doorbell.ring(TaskName.SYNC_MEMORIES)
    return "done"


def _place(turn: Turn, conversation: Conversation) -> Place | None:
    return place_of(turn.tenant, turn.metadata, *conversation.memories) if conversation.memories else None


def _end_early(turn: Turn, conversation: Conversation, stopped: Stopped) -> str:
    if stopped.why is Why.LATE:
        _close(turn, conversation, late(turn), "failed")
        return "failed"
    _close(turn, conversation, cancelled(turn.event_id, stopped.said, turn.attempts), "cancelled")
    return "cancelled"


def _fail(turn: Turn, conversation: Conversation, reason: str, **further: Any) -> str:
    last = NewEvent(f"{turn.event_id}:answer", EventType.ERROR, "assistant", "", {"reason": reason, **further})
    _close(turn, conversation, last, "failed")
    return "failed"


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
        return _fail(turn, conversation, reason)
    pause = error.retry_after or conversation.backoff.pause(turn.failures, 0.5)
    conversation.turns.postpone(turn, pause, str(error))
    return "postponed"

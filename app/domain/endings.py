"""The last words of turns: the answer, or why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.conversation import Turn
from app.domain.dialogue import Answer, ToolAsk
from app.domain.events import EventType, NewEvent
from app.domain.leases import MAX_ATTEMPTS, MAX_CLAIMS
from app.domain.policy import PolicyQuestion


def answered(turn: Turn, answer: Answer, for_the_caller: Sequence[ToolAsk] = ()) -> NewEvent:
    """The whole answer. Where the model asked for tools of the caller's own, the caller goes on from there."""
    metadata: dict[str, Any] = {
        "status": "completed",
        "source": answer.source,
        "attempt": turn.attempts,
        "usage": {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens},
        "finish": answer.finish,
    }
    if for_the_caller:
        calls = [{"id": ask.ask_id, "name": ask.tool, "arguments": ask.arguments} for ask in for_the_caller]
        metadata |= {"finish": "tool_calls", "tool_calls": calls}
    if answer.escalation is not None:
        metadata["escalation"] = answer.escalation.as_json()
    return NewEvent(f"{turn.event_id}:answer", EventType.FINAL, "assistant", answer.text, metadata)


def cancelled(event_id: str, said: str = "", attempt: int | None = None) -> NewEvent:
    """Somebody stopped the answer to this message; `said` is how far it had come, in that attempt."""
    metadata = {"reason": "You stopped this answer."} | ({} if attempt is None else {"attempt": attempt})
    return NewEvent(f"{event_id}:answer", EventType.CANCELLED, "assistant", said, metadata)


def denied(turn: Turn, question: PolicyQuestion, reason: str) -> NewEvent:
    """The policy does not allow an answer to this message."""
    asked = {"action": question.action, "resource": question.resource, "reason": reason}
    return NewEvent(f"{turn.event_id}:answer", EventType.DENIED, "assistant", "", {"reason": reason, "policy": asked})


def late(turn: Turn) -> NewEvent:
    """The time was over until which somebody wanted this answer."""
    until = turn.deliver_before.isoformat(timespec="seconds") if turn.deliver_before else "then"
    reason = f"This message was to be answered before {until}; it was not, and is not any more. Send it again."
    return NewEvent(f"{turn.event_id}:answer", EventType.ERROR, "assistant", "", {"reason": reason, "late": True})


def worn_out(turn: Turn) -> NewEvent:
    """Too many workers ended with this turn in their hands."""
    times = MAX_ATTEMPTS if turn.claims <= MAX_CLAIMS else MAX_CLAIMS
    reason = f"This message stopped its worker {times} times and was set aside. Send it again."
    return NewEvent(f"{turn.event_id}:final", EventType.ERROR, "assistant", "", {"reason": reason})


def why_unanswered(event: Mapping[str, Any]) -> str:
    """What the event says that ended a turn without an answer, in a sentence."""
    metadata = event["metadata"]
    reason = metadata.get("reason") or metadata.get("policy", {}).get("reason")
    return str(reason or "This message was not answered.")

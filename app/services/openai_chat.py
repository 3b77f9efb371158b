"""A turn's answer as a chat completion: whole, or as the chunks of a stream."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.answer_parts import Anew, Ended, Part, Said
from app.domain.endings import why_unanswered
from app.domain.events import EventType
from app.domain.kept_turns import KeptTurn
from app.domain.profiles import DEFAULT_PROFILE
from app.services.openai_refusal import Refused

BEGAN_ANEW = (
    "The answer was begun anew and differs from what was sent; ask again. With the same Idempotency-Key that gives the"
    " whole answer and no second turn."
)
BETWEEN_STEPS = "\n\n"
_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})
_STATUSES = {EventType.ERROR: (502, "model_error"), EventType.CANCELLED: (409, "cancelled")}


def chat_id(turn: KeptTurn) -> str:
    """The id under which the caller knows this answer."""
    return f"chatcmpl-{turn.event_id}"


def model_of(turn: KeptTurn) -> str:
    """The model by the name by which it was asked for."""
    return str(turn.request.echo.get("model") or turn.metadata.get("agent_profile_id") or DEFAULT_PROFILE)


def finish_of(event: Mapping[str, Any]) -> str:
    """Why the answer ended where it did."""
    finish = event["metadata"].get("finish", "stop")
    return finish if finish in _FINISHES else "stop"


def calls_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of the caller's tools that the model asks for."""
    found: list[dict[str, Any]] = event["metadata"].get("tool_calls", [])
    return found


def check_answered(event: Mapping[str, Any]) -> None:
    """`Refused` where the turn ended without an answer."""
    kind = EventType(event["type"])
    if kind is EventType.FINAL:
        return
    status, code = _STATUSES.get(kind, (403, "policy_denied"))
    raise Refused(why_unanswered(event), code=code, status=status)


def completion(turn: KeptTurn, event: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer, from the event that ended the turn; `Refused` where that is none."""
    check_answered(event)
    calls = [_call(call) for call in calls_of(event)]
    message: dict[str, Any] = {"role": "assistant", "content": event["message"] or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(event)}
    return _head(turn, "chat.completion") | {"choices": [choice], "usage": _usage(event)}


def _head(turn: KeptTurn, kind: str) -> dict[str, Any]:
    created = int(turn.created_at.timestamp())
    return {"id": chat_id(turn), "object": kind, "created": created, "model": model_of(turn)}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}


def _usage(event: Mapping[str, Any]) -> dict[str, int]:
    spent = event["metadata"].get("usage", {})
    asked, said = int(spent.get("input_tokens", 0)), int(spent.get("output_tokens", 0))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


@dataclass(slots=True)
class ChatStream:
    """The chunks of one stream. What was sent cannot be taken back, so an answer that begins anew ends it."""

    turn: KeptTurn
    wants_usage: bool = False
    _said: bool = False
    _between: str = ""

    def begin(self) -> dict[str, Any]:
        """The first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def take(self, part: Part) -> Iterator[dict[str, Any]]:
        """The chunks that tell this part; `Refused` where the stream cannot go on."""
        match part:
            case Said():
                yield self._chunk({"content": self._between + part.text})
                self._said, self._between = True, ""
            case Anew(is_step=True):
                self._between = BETWEEN_STEPS if self._said else ""
            case Anew():
                raise Refused(BEGAN_ANEW, code="answer_began_anew", status=409)
            case Ended():
                check_answered(part.event)
                yield from self._end(part.event)

    def _end(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        calls = [{"index": number, **_call(call)} for number, call in enumerate(calls_of(event))]
        if calls:
            yield self._chunk({"tool_calls": calls})
        yield self._chunk({}, finish_of(event))
        if self.wants_usage:
            yield _head(self.turn, "chat.completion.chunk") | {"choices": [], "usage": _usage(event)}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = _head(self.turn, "chat.completion.chunk") | {"choices": [choice]}
        return chunk | ({"usage": None} if self.wants_usage else {})

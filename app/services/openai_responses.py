"""A turn as a response of the OpenAI interface, however it stands."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.domain.endings import why_unanswered
from app.domain.events import EventType
from app.domain.kept_turns import KeptTurn
from app.services.openai_chat import calls_of, finish_of, model_of
from app.services.openai_form import LONGEST_MESSAGE

_UNFINISHED = {"length": "max_output_tokens", "content_filter": "content_filter"}
_SAYS_SOMETHING = (EventType.FINAL, EventType.CANCELLED)
_OPEN = {"queued": "queued", "running": "in_progress"}


def response_id(turn: KeptTurn) -> str:
    """The id under which the caller finds this turn again."""
    return f"resp_{turn.event_id}"


def response_of(turn: KeptTurn, first_item: int = 0) -> dict[str, Any]:
    """The turn as it stands; `first_item` items of its stream came to nothing before its answer began."""
    echo, request, end = turn.request.echo, turn.request, turn.end
    status = status_of(turn)
    reason = _UNFINISHED.get(finish_of(end)) if end is not None and status == "incomplete" else None
    return {
        "id": response_id(turn),
        "object": "response",
        "created_at": int(turn.created_at.timestamp()),
        "status": status,
        "background": bool(echo.get("background")),
        "error": _error(turn),
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": echo.get("instructions"),
        "max_output_tokens": request.output_tokens,
        "model": model_of(turn),
        "output": output_of(turn, first_item),
        "parallel_tool_calls": request.options.get("parallel_tool_calls", True),
        "previous_response_id": echo.get("previous_response_id"),
        "reasoning": {"effort": request.options.get("reasoning_effort"), "summary": None},
        "store": True,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": echo.get("tool_choice", "auto"),
        "tools": echo.get("tools", []),
        "top_p": request.options.get("top_p"),
        "truncation": "auto",
        "usage": _usage(end),
        "user": echo.get("user"),
        "metadata": {**echo.get("metadata", {}), "session_id": turn.session_id},
    }


def status_of(turn: KeptTurn) -> str:
    """How it stands, in the words of that interface."""
    if turn.end is None:
        return _OPEN.get(turn.state, "in_progress")
    match EventType(turn.end["type"]):
        case EventType.FINAL:
            return "incomplete" if finish_of(turn.end) in _UNFINISHED else "completed"
        case EventType.CANCELLED:
            return "cancelled"
    return "failed"


def ended(turn: KeptTurn, event: Mapping[str, Any]) -> KeptTurn:
    """The turn with the event that ended it."""
    return replace(turn, end=event)


def unbegun(turn: KeptTurn) -> KeptTurn:
    """The turn as it was when it was accepted."""
    return replace(turn, end=None, state="queued")


def begun(turn: KeptTurn) -> KeptTurn:
    """The turn as it was when somebody had begun to answer it."""
    return replace(turn, end=None, state="running")


def output_of(turn: KeptTurn, first_item: int = 0) -> list[dict[str, Any]]:
    """The items of its answer: what was said, then the calls that are asked for."""
    if turn.end is None:
        return []
    text = turn.end["message"] if turn.end["type"] in _SAYS_SOMETHING else ""
    status = "completed" if status_of(turn) == "completed" else "incomplete"
    said = [message_item(turn, first_item, text, status)] if text else []
    return [*said, *(call_item(call) for call in calls_of(turn.end))]


def message_item(turn: KeptTurn, number: int, text: str | None, status: str) -> dict[str, Any]:
    """What was said, as an item; without a text it has no content yet."""
    name = f"msg_{turn.event_id}" + (f"_{number}" if number else "")
    content = [] if text is None else [text_part(text)]
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": content}


def text_part(text: str) -> dict[str, Any]:
    """Words as the part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(call: Mapping[str, Any], arguments: str | None = None, status: str = "completed") -> dict[str, Any]:
    """A call that is asked for, as an item."""
    written = call["arguments"] if arguments is None else arguments
    return {
        "id": f"fc_{call['id']}",
        "type": "function_call",
        "call_id": call["id"],
        "name": call["name"],
        "arguments": written,
        "status": status,
    }


def _error(turn: KeptTurn) -> dict[str, str] | None:
    if status_of(turn) != "failed" or turn.end is None:
        return None
    return {"code": "server_error", "message": why_unanswered(turn.end)[:LONGEST_MESSAGE]}


def _usage(end: Mapping[str, Any] | None) -> dict[str, Any] | None:
    spent = (end or {}).get("metadata", {}).get("usage")
    if not spent:
        return None
    asked, said = int(spent.get("input_tokens", 0)), int(spent.get("output_tokens", 0))
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + said,
    }

"""What was said in a message of a Letta agent: older agents wrap what they hear and say in JSON and tool calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.json_text import BadJson, parse_json
from app.domain.shapes.found import name_of, text_of

_SPEAKS = "send_message"


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who said it, what it was, and what a tool's result has beside."""

    role: str
    text: str
    also: Mapping[str, Any] = field(default_factory=dict)


def spoken(message: Mapping[str, Any]) -> Spoken | None:
    """What a person, the agent or a tool said; None for system prompts, heartbeats and calls without words."""
    role = message.get("role")
    content = text_of(message.get("content")) or text_of(message.get("text"))
    if role == "user":
        return _said("user", _heard(content))
    if role == "assistant":
        return _said("assistant", _called(message.get("tool_calls")) or content)
    if role == "tool" and message.get("name") != _SPEAKS:
        return _said("tool", content, tool_name=name_of(message.get("name")) or "unknown", status=_status(message))
    return None


def _said(role: str, text: str, **also: Any) -> Spoken | None:
    return Spoken(role, text, also) if text.strip() else None


def _heard(content: str) -> str:
    """A user's words; agents of the MemGPT kind get them as JSON, beside heartbeats and logins of the same role."""
    wrapped = _object(content)
    if not isinstance(wrapped.get("type"), str):
        return content
    return text_of(wrapped.get("message")) if wrapped["type"] == "user_message" else ""


def _called(calls: object) -> str:
    """The words that the agent sent by its tool for speaking."""
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and function.get("name") == _SPEAKS:
            return text_of(_object(function.get("arguments")).get("message"))
    return ""


def _status(message: Mapping[str, Any]) -> str:
    returns = message.get("tool_returns")
    told = [one.get("status") for one in returns if isinstance(one, dict)] if isinstance(returns, list) else []
    return "error" if "error" in told else "success"


def _object(text: object) -> dict[str, Any]:
    """The JSON object in a text; an empty one when it is plain text."""
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        found = parse_json(text.encode("utf-8", "replace"))
    except BadJson:
        return {}
    return found if isinstance(found, dict) else {}

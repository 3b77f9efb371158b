"""What a model's endpoint is sent, in the words that it takes: not every endpoint knows every field."""

import json
import re
from collections.abc import Mapping
from typing import Any

from app.domain.dialogue import ModelCall, ToolAsk, ToolOffer, Utterance
from app.domain.profiles import Profile

Body = dict[str, Any]

_OTHER_NAMES = {"max_tokens": "max_completion_tokens"}
_UNKNOWN = re.compile(
    r"unsupported|not support|n't support|unrecogni[sz]ed|unknown|unexpected|extra|permitted|not allowed|deprecated"
    r"|requires|default",
    re.IGNORECASE,
)
_NAMED = {
    "stream_options": re.compile("stream_options"),
    "temperature": re.compile("temperature"),
    "max_tokens": re.compile("max_tokens|max_completion_tokens"),
    # A complaint about one tool's schema is the caller's to hear; only "no tools here" is the endpoint's way.
    "tools": re.compile(
        r"support(s|ed|ing)?( for)? tool|tools? (param|choice|use|calling|is|are)\b.{0,40}(requires|support)"
    ),
}


def body_of(profile: Profile, name: str, call: ModelCall) -> Body:
    """The request's body. What the call says goes before what the profile says; a field that is null is not sent."""
    chosen: Body = {
        "stream_options": {"include_usage": True},
        "temperature": profile.temperature if call.temperature is None else call.temperature,
        "max_tokens": call.output_tokens or profile.output_tokens,
        **profile.extra,
        **call.options,
        **_tools(call),
        "model": name or None,
        "messages": [_message(line) for line in call.lines],
        "stream": True,
    }
    return {field: value for field, value in chosen.items() if value is not None}


def refused_field(sent: Body, complaint: str) -> str | None:
    """The field that an endpoint does not know, told by its complaint, where the answer can do without it."""
    if not _UNKNOWN.search(complaint) or "context" in complaint:
        return None
    return next(
        (field for field, named in _NAMED.items() if _dispensable(sent, field) and named.search(complaint)), None
    )


def without(sent: Body, refused: frozenset[str]) -> Body:
    """The body without these fields, or with their other names."""
    kept = {name: value for name, value in sent.items() if name not in refused}
    renamed = {_OTHER_NAMES[name]: sent[name] for name in refused & sent.keys() & _OTHER_NAMES.keys()}
    if "tools" in refused:
        kept.pop("tool_choice", None)
    return {**renamed, **kept}


def _dispensable(sent: Body, field: str) -> bool:
    """A caller who insists on a tool hears that there are none."""
    return field in sent and (field != "tools" or sent.get("tool_choice", "auto") in ("auto", "none"))


def _tools(call: ModelCall) -> Mapping[str, Any]:
    if not call.tools:
        return {}
    return {"tools": [_tool(offer) for offer in call.tools], "tool_choice": call.tool_choice}


def _tool(offer: ToolOffer) -> Mapping[str, Any]:
    function = {"name": offer.name, "description": offer.description, "parameters": offer.parameters}
    return {"type": "function", "function": function}


def _message(line: Utterance) -> Mapping[str, Any]:
    if line.asks:
        return {"role": line.role, "content": line.content or None, "tool_calls": [_asked(ask) for ask in line.asks]}
    if line.answers is not None:
        return {"role": line.role, "content": line.content, "tool_call_id": line.answers}
    return {"role": line.role, "content": line.content}


def _asked(ask: ToolAsk) -> Mapping[str, Any]:
    function = {"name": ask.tool, "arguments": _as_object(ask.arguments)}
    return {"id": ask.ask_id, "type": "function", "function": function}


def _as_object(arguments: str) -> str:
    """The arguments; those that are no JSON object are wrapped, for endpoints read them and fail over others."""
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    return arguments if is_object else json.dumps({"unreadable": arguments})

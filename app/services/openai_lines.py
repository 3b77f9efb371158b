"""A conversation as callers of the OpenAI interface tell it: chat messages, or the items of a response's input."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.domain.dialogue import ToolAsk, Utterance
from app.services.openai_refusal import Refused

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller tells: standing instructions, and the lines that were said, the last of which wants an answer."""

    instructions: str
    lines: tuple[Utterance, ...]

    @property
    def question(self) -> str:
        """The new words in the last lines."""
        asked = [self.lines[-1].content]
        if self.lines[-1].role == "tool":
            asked = [line.content for line in _last_results(self.lines)]
        return "\n".join(asked)


def _last_results(lines: Sequence[Utterance]) -> list[Utterance]:
    found: list[Utterance] = []
    for line in reversed(lines):
        if line.role != "tool":
            break
        found.insert(0, line)
    return found


def told_in(messages: Sequence[Any], where: str, before: Sequence[Utterance] = ()) -> Told:
    """The conversation in these chat messages, which the caller's field `where` held; `before` went before them."""
    lines = [_line(message, f"{where}[{number}]") for number, message in enumerate(messages)]
    instructions: list[str] = []
    while lines and lines[0].role == "system":
        instructions.append(lines.pop(0).content)
    _check_question(lines, where)
    joined = tuple(_joined([*before, *lines]))
    _check_results(joined, where)
    return Told("\n\n".join(instructions), joined)


def _check_question(lines: Sequence[Utterance], where: str) -> None:
    if not lines or lines[-1].role not in ("user", "tool"):
        raise Refused(f"The last of `{where}` must be of role user or tool: there is nothing to answer.", where)
    if lines[-1].role == "user" and not lines[-1].content.strip():
        raise Refused(f"The last of `{where}` is empty; say something in it.", where)


def _joined(lines: Iterable[Utterance]) -> Iterator[Utterance]:
    """Calls that a model asked for together are one line of it, however the caller tells them."""
    last: Utterance | None = None
    for line in lines:
        if last is not None and last.role == line.role == "assistant" and line.asks and not line.content:
            last = replace(last, asks=(*last.asks, *line.asks))
            continue
        if last is not None:
            yield last
        last = line
    if last is not None:
        yield last


def _check_results(lines: Sequence[Utterance], where: str) -> None:
    asked: set[str] = set()
    for line in lines:
        asked.update(ask.ask_id for ask in line.asks)
        if line.role == "tool" and line.answers not in asked:
            raise Refused(f"A tool's result answers the call {line.answers!r}, which nothing before asks for.", where)


def _line(message: Any, place: str) -> Utterance:
    if not isinstance(message, dict):
        raise Refused(f"`{place}` must be an object with a role and a content.", place)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        allowed = ", ".join(_ROLES)
        raise Refused(f"`{place}.role` must be one of {allowed}.", f"{place}.role")
    asks = tuple(_asks(message, place)) if role == "assistant" else ()
    content = message.get("content")
    if content is None and not asks:
        raise Refused(f"`{place}.content` is missing.", f"{place}.content")
    answers = _text(message, "tool_call_id", place) if role == "tool" else None
    return Utterance(_ROLES[role], text_of(content, f"{place}.content"), asks, answers)


def text_of(content: Any, place: str) -> str:
    """The words in a content, whole or in parts; `Refused` for what is no text."""
    if isinstance(content, list):
        return "\n".join(_part(part, f"{place}[{number}]") for number, part in enumerate(content))
    if content is not None and not isinstance(content, str):
        raise Refused(f"`{place}` must be a text or a list of parts.", place)
    return content or ""


def _part(part: Any, place: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in _TEXT_PARTS:
        raise Refused(
            f"`{place}` is of type {kind!r}; only text can be understood here, no images, audio or files.",
            place,
            "unsupported_content",
        )
    return _text(part, _TEXT_PARTS[kind], place)


def _asks(message: Mapping[str, Any], place: str) -> Iterator[ToolAsk]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Refused(f"`{place}.tool_calls` must be a list.", f"{place}.tool_calls")
    for number, call in enumerate(calls):
        where = f"{place}.tool_calls[{number}]"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise Refused(f"`{where}` must be a call of a function.", where)
        yield ToolAsk(_text(call, "id", where), _text(function, "name", where), _text(function, "arguments", where))


def _text(found: Mapping[str, Any], name: str, place: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise Refused(f"`{place}.{name}` must be a text.", f"{place}.{name}")
    return value


def messages_of(given: str | Sequence[Any]) -> list[Any]:
    """The input of a response as chat messages, one for each item; `Refused` for an item that is none of ours."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [_message(item, f"input[{number}]") for number, item in enumerate(given) if not _is_thought(item)]


def _is_thought(item: Any) -> bool:
    """Clients hand back everything that a response held, its reasoning too, which no model here can use."""
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _message(item: Any, place: str) -> Any:
    if not isinstance(item, dict):
        raise Refused(f"`{place}` must be an object.", place)
    match item.get("type", "message"):
        case "message":
            return item
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            return {"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "function": function}]}
        case "function_call_output":
            return {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
    raise Refused(f"`{place}` is of type {item['type']!r}, which is not possible here.", f"{place}.type")

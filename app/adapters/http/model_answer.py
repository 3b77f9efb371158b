"""What a model's endpoint sends, put together: words, asks for tools, usage and the reason of the end, in whatever
pieces they come. What is no such thing raises one of the errors that reading a wrong shape raises.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.dialogue import Answer, ToolAsk, Usage
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.json_text import replace_unstorable

LONGEST_ANSWER = 200_000
MOST_ASKS = 128
_MOST_TOKENS = 1_000_000_000
_FINISHES = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
}


@dataclass(slots=True)
class _Ask:
    """A call of a tool, as far as it has come."""

    ask_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Heard:
    """What has come of an answer so far. `begun` once the model has done anything, be it only to think aloud."""

    begun: bool = False
    finish: str | None = None
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    length: int = 0
    _texts: list[str] = field(default_factory=list)
    _asks: list[_Ask] = field(default_factory=list)
    _by_index: dict[int, _Ask] = field(default_factory=dict)

    def absorb(self, chunk: Any) -> str:
        """The new words in a piece of a stream, or in an answer that comes whole."""
        if not isinstance(chunk, dict):
            raise TypeError("a piece of an answer is an object")
        self._absorb_usage(chunk.get("usage"))
        self.model = self.model or str(chunk.get("model") or "")
        choices = chunk.get("choices")
        return self._absorb_choice(choices[0]) if choices else ""

    def answer(self, source: str, ended: bool) -> Answer:
        """The whole; says in a sentence why there is none. `ended` is whether the endpoint said that this was all."""
        if self.finish is None and not ended:
            raise ModelUnavailable("The model broke off in the middle of its answer.")
        asks, finish = self._made_asks(), _FINISHES.get(self.finish or "", "stop")
        text = "".join(self._texts)
        if not text and not asks:
            raise _nothing(finish)
        if asks and finish == "stop":
            finish = "tool_calls"
        return Answer(text, source or replace_unstorable(self.model) or "unknown", self.usage, asks, finish)

    def _absorb_usage(self, usage: Any) -> None:
        if usage is not None:
            self.usage = Usage(_tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens")))

    def _absorb_choice(self, choice: Mapping[str, Any]) -> str:
        if choice.get("finish_reason") is not None:
            self.finish = str(choice["finish_reason"])
        if self.finish == "error":
            raise ModelUnavailable("The model's endpoint reported an error in the middle of the answer.")
        said = choice.get("delta") or choice.get("message") or {}
        self.begun = self.begun or any(value for name, value in said.items() if name != "role")
        self._absorb_asks(said)
        text = replace_unstorable(_words(said.get("content")) or said.get("refusal") or "")
        self._grow(len(text))
        self._texts.append(text)
        return text

    def _absorb_asks(self, said: Mapping[str, Any]) -> None:
        called = said.get("function_call")
        for part in said.get("tool_calls") or ([{"index": 0, "function": called}] if called else ()):
            self._absorb_ask(part)

    def _absorb_ask(self, part: Mapping[str, Any]) -> None:
        function = part.get("function") or {}
        ask_id, name = str(part.get("id") or ""), str(function.get("name") or "")
        arguments = _as_text(function.get("arguments"))
        ask = self._place(part.get("index"), ask_id, name)
        ask.ask_id = ask.ask_id or ask_id
        ask.name += name if name != ask.name else ""
        ask.arguments.append(arguments)
        self._grow(len(ask_id) + len(name) + len(arguments))

    def _place(self, index: Any, ask_id: str, name: str) -> _Ask:
        """The call that this piece belongs to. Some number every call 0, some number none, some give an id to every
        piece: a piece begins a call when its number is new, or when it brings a name with another id.
        """
        found = self._by_index.get(index) if isinstance(index, int) else self._without_index(ask_id, name)
        if found is None or (name and ask_id and found.ask_id not in ("", ask_id)):
            found = self._another()
        if isinstance(index, int):
            self._by_index[index] = found
        return found

    def _without_index(self, ask_id: str, name: str) -> _Ask | None:
        known = next((ask for ask in self._asks if ask_id and ask.ask_id == ask_id), None)
        last = self._asks[-1] if self._asks and not name else None
        return known or last

    def _another(self) -> _Ask:
        if len(self._asks) >= MOST_ASKS:
            raise ModelUnavailable(f"The model asked for more than {MOST_ASKS} tools at once.")
        self._asks.append(_Ask())
        return self._asks[-1]

    def _grow(self, by: int) -> None:
        self.length += by
        if self.length > LONGEST_ANSWER:
            raise ModelUnavailable("The model's answer is too long to be kept.")

    def _made_asks(self) -> tuple[ToolAsk, ...]:
        made: dict[str, ToolAsk] = {}
        for ask in self._asks:
            ask_id = replace_unstorable(ask.ask_id)
            if not ask_id or ask_id in made:
                ask_id = f"call_{uuid.uuid4().hex[:24]}"
            arguments = replace_unstorable("".join(ask.arguments)).strip() or "{}"
            made[ask_id] = ToolAsk(ask_id, replace_unstorable(ask.name), arguments)
        return tuple(made.values())


def _nothing(finish: str) -> Exception:
    match finish:
        case "content_filter":
            return ModelRefused("The model's provider withheld the answer (content filter).")
        case "length":
            return ModelRefused("The model used up the tokens of its answer before it said anything; allow it more.")
    return ModelUnavailable("The model answered with nothing.")


def _tokens(number: Any) -> int:
    return min(max(int(number or 0), 0), _MOST_TOKENS)


def _words(content: Any) -> str:
    """The text of a message's content, which may come as a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise TypeError("words are text")
    return "".join(str(part.get("text") or "") for part in content if part.get("type", "text") == "text")


def _as_text(arguments: Any) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments)

"""An answer that asks for tools becomes a step: a call for each ask that can be run, words for each that cannot.

A model may ask for anything. Whatever is wrong with an ask is told to the model, and costs nobody but its own turn.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from app.domain.conversation import Turn
from app.domain.dialogue import Answer, ToolAsk, ToolOffer
from app.domain.errors import Rejected
from app.domain.json_text import BadJson, parse_json, replace_unstorable
from app.domain.tool_loop import MOST_ASKS, Asked, Step, StepPlan, call_id_of
from app.domain.tools import MAX_ARGS_BYTES, Effect, Tool, Toolbox, ToolRequest
from app.services.tool_form import check_arguments

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MOST_WORDS = 500


@dataclass(frozen=True, slots=True)
class Tooling:
    """Which tools a model may ask for, and within which bounds; without any it is offered none."""

    toolbox: Toolbox = field(default_factory=dict)
    max_steps: int = 8
    max_calls: int = 8
    result_chars: int = 8_000


def offers(turn: Turn, tooling: Tooling) -> tuple[ToolOffer, ...]:
    """What the model may ask for: the caller's own tools where there are some, else ours as long as it has steps."""
    if turn.request.tools or turn.steps >= tooling.max_steps:
        return turn.request.tools
    tools = sorted(tooling.toolbox.values(), key=lambda tool: tool.name)
    return tuple(_offer(tool.name, tool.description, tool.arguments) for tool in tools)


@lru_cache(maxsize=256)
def _offer(name: str, description: str, arguments: type[BaseModel]) -> ToolOffer:
    """Making a schema takes milliseconds, and a tool never changes."""
    return ToolOffer(name, description, arguments.model_json_schema())


def asks_for_the_caller(turn: Turn, answer: Answer) -> tuple[ToolAsk, ...]:
    """Those asks that only the caller can answer."""
    own = {tool.name for tool in turn.request.tools}
    return tuple(ask for ask in answer.asks if ask.tool in own)


def plan_step(turn: Turn, answer: Answer, tooling: Tooling) -> StepPlan:
    """The step that this answer makes, and its calls under ids that no other step has."""
    planned = [_plan(turn, tooling, ask, position) for position, ask in enumerate(_with_ids(answer.asks[:MOST_ASKS]))]
    asked = tuple(asked for asked, _ in planned)
    calls = tuple(call for _, call in planned if call is not None)
    escalated = replace_unstorable(answer.escalation.reason) if answer.escalation else ""
    return StepPlan(Step(turn.steps + 1, replace_unstorable(answer.text), asked, answer.usage, escalated), calls)


def _with_ids(asks: Sequence[ToolAsk]) -> list[ToolAsk]:
    """Each under an id of its own: the model's, where they are ids."""
    if len({ask.ask_id for ask in asks if _ID.fullmatch(ask.ask_id)}) == len(asks):
        return list(asks)
    return [replace(ask, ask_id=f"ask_{position}") for position, ask in enumerate(asks)]


class _Refused(Rejected):
    """No call can be made of this ask; the text says why, to a model."""


def _plan(turn: Turn, tooling: Tooling, ask: ToolAsk, position: int) -> tuple[Asked, ToolRequest | None]:
    try:
        if position >= tooling.max_calls:
            raise _Refused(f"Only {tooling.max_calls} calls can be made at once; ask for this one again, alone.")
        tool = _tool(ask, turn, tooling)
        args = _arguments(ask)
        check_arguments(tool, args)
    except Rejected as error:
        return Asked(_repeatable(ask), replace_unstorable(str(error))[:_MOST_WORDS]), None
    return Asked(replace(ask, arguments=ask.arguments or "{}")), _request(
        turn, tool, args, call_id_of(turn.event_id, turn.steps + 1, position)
    )


def _tool(ask: ToolAsk, turn: Turn, tooling: Tooling) -> Tool:
    tool = None if turn.request.tools else tooling.toolbox.get(ask.tool)
    if tool is None:
        known = ", ".join(offer.name for offer in offers(turn, tooling))
        raise _Refused(f"There is no tool of this name; there is {known}." if known else "No tool can be called here.")
    return tool


def _arguments(ask: ToolAsk) -> dict[str, Any]:
    raw = ask.arguments.encode(errors="surrogatepass")
    if len(raw) > MAX_ARGS_BYTES:
        raise _Refused(f"The arguments are longer than {MAX_ARGS_BYTES} bytes of JSON.")
    try:
        args = parse_json(raw or b"{}")
    except BadJson as error:
        raise _Refused(f"The arguments cannot be read: {error}.") from None
    if not isinstance(args, dict):
        raise _Refused("The arguments are not a JSON object.")
    return args


def _repeatable(ask: ToolAsk) -> ToolAsk:
    """A refused ask as it can be shown to any model again: its name is a name, its arguments an object."""
    name = ask.tool if _NAME.fullmatch(ask.tool) else "unknown"
    return ToolAsk(ask.ask_id, name, "{}")


def _request(turn: Turn, tool: Tool, args: Mapping[str, Any], call_id: str) -> ToolRequest:
    return ToolRequest(
        call_id=call_id,
        session_id=turn.session_id,
        tool=tool.name,
        effect=Effect(tool.effect),
        args=args,
        tenant=turn.tenant,
        persona_id=turn.persona_id,
        metadata=turn.metadata,
        traceparent=turn.traceparent,
        turn_event_id=turn.event_id,
    )

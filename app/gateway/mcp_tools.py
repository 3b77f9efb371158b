"""The tools of our MCP server: memories and conversations, through the same services as the REST routes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from uuid import uuid4

from flask import g
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.domain.browse import search_words
from app.domain.errors import Rejected, Retryable
from app.domain.json_rpc import INVALID_PARAMS, RpcError
from app.domain.memory import Place
from app.domain.utterances import UtteranceFilter
from app.gateway.api import Answer
from app.gateway.memories import Name, RecallAnswer, RecallBody, post_recall
from app.gateway.problems import sentence
from app.gateway.room import room
from app.gateway.search import FoundUtterances, found_utterances
from app.gateway.write_through import counted_memories
from app.services.keep_memories import forget_memory, keep_memories
from app.services.memory_filter_form import Words
from app.services.memory_form import Id, memory_in
from app.services.message_form import MAX_KEY_LENGTH
from app.services.wrong_fields import wrong_fields

_PATH = "/mcp"
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class RememberArguments(BaseModel):
    """What to keep. The same `id`, or the same `idempotency_key`, with the same content keeps nothing twice."""

    model_config = _STRICT

    content: Annotated[str, Field(min_length=1, max_length=32_000, description="what to remember, in whole sentences")]
    id: Annotated[Id | None, Field(description="the memory's own id; one is made where it is missing")] = None
    idempotency_key: Annotated[str | None, Field(min_length=1, max_length=MAX_KEY_LENGTH)] = None
    role: Annotated[str, Field(pattern=r"^(user|assistant|system|tool)$", description="who says it")] = "user"
    session_id: Annotated[Id | None, Field(description="the conversation that it belongs to")] = None
    universe: Name | None = None
    namespace: Name | None = None
    tenant: Name | None = None


class Kept(Answer):
    """One memory: `ok` remembered now, `queued` kept for good and remembered as soon as the memory service is back."""

    id: str
    ok: bool
    queued: bool
    note: str


def _remember(asked: RememberArguments) -> Kept:
    serving = room().serving
    settings = serving.settings
    defaults = Place(
        asked.tenant or settings.soma_tenant_id,
        asked.namespace or settings.soma_memory_namespace,
        asked.universe or settings.soma_namespace,
    )
    item = {"id": _id_for(asked, defaults.tenant), "content": asked.content, "role": asked.role}
    item |= {"session_id": asked.session_id} if asked.session_id else {}
    memory = memory_in(item, defaults, serving.clock.now(), g.traceparent)
    with counted_memories(_PATH) as outcome:
        kept = keep_memories([memory], None, serving.memory_door)
        outcome.memories = len(kept.new)
        outcome.remembered = sum(each.ok for each in kept.new)
    (receipt,) = kept.receipts
    if receipt.error:
        raise Rejected(receipt.error)
    note = _QUEUED if receipt.queued else "Remembered."
    return Kept(id=receipt.event_id, ok=receipt.ok, queued=receipt.queued, note=note)


_QUEUED = "Queued: it is kept for good, and the memory service gets it as soon as it can."


def _id_for(asked: RememberArguments, tenant: str) -> str:
    if asked.id is not None:
        return asked.id
    if asked.idempotency_key is None:
        return str(uuid4())
    return sha256(json.dumps([tenant, asked.idempotency_key]).encode()).hexdigest()


class ForgetArguments(BaseModel):
    """Which memory is to be one no more."""

    model_config = _STRICT

    id: Annotated[str, Field(min_length=1, max_length=255, description="as `remember` and `recall` name it")]
    tenant: Name | None = None


class ForgottenMemory(Answer):
    """`deleted` once the memory service has forgotten it; `queued` until then. Nobody recalls it any more."""

    deleted: bool
    queued: bool
    note: str


def _forget(asked: ForgetArguments) -> ForgottenMemory:
    serving = room().serving
    done = forget_memory(asked.id, asked.tenant or serving.settings.soma_tenant_id, serving.memory_door)
    note = "Forgotten." if done else "Queued: nobody recalls it any more, and the memory service forgets it soon."
    return ForgottenMemory(deleted=done, queued=not done, note=note)


class SearchArguments(BaseModel):
    """Words that must all occur in a message or an answer, whole and without case."""

    model_config = _STRICT

    query: Words
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    after: Annotated[str, Field(description="`next_cursor` of the page before")] = ""
    tenant: Name | None = None


def _search(asked: SearchArguments) -> FoundUtterances:
    tenant = asked.tenant or room().serving.settings.soma_tenant_id
    return found_utterances(UtteranceFilter(search_words(asked.query), tenant), asked.after, asked.limit)


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool: what it takes, what it gives, and what a client may know about calling it."""

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    answer: type[Answer]
    run: Callable[[Any], Answer]
    reads: bool = False
    repeatable: bool = True
    destroys: bool = False


TOOLS = {
    tool.name: tool
    for tool in (
        McpTool(
            "remember", "Remember", "Keep something in long-term memory; once this answers, it cannot be lost.",
            RememberArguments, Kept, _remember, repeatable=False,
        ),
        McpTool(
            "recall", "Recall", "Find memories that answer a question, best first.",
            RecallBody, RecallAnswer, post_recall, reads=True,
        ),
        McpTool(
            "forget", "Forget", "Take a memory back for good, by its id.",
            ForgetArguments, ForgottenMemory, _forget, destroys=True,
        ),
        McpTool(
            "search_conversations", "Search conversations",
            "Find messages and answers of earlier conversations by their words, newest first.",
            SearchArguments, FoundUtterances, _search, reads=True,
        ),
    )
}  # fmt: skip


def described(tool: McpTool) -> dict[str, Any]:
    """The tool as `tools/list` shows it."""
    hints = {"readOnlyHint": tool.reads, "idempotentHint": tool.repeatable, "destructiveHint": tool.destroys}
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.arguments.model_json_schema(),
        "outputSchema": tool.answer.model_json_schema(mode="serialization"),
        "annotations": {"title": tool.title, **hints, "openWorldHint": False},
    }


def call_tool(params: Mapping[str, Any]) -> dict[str, Any]:
    """The result of `tools/call`. What goes wrong in the tool is a result, too, so that the model can read it; no such
    tool is an `RpcError`.
    """
    tool, arguments = TOOLS.get(str(params.get("name"))), params.get("arguments") or {}
    if tool is None:
        raise RpcError(INVALID_PARAMS, f"there is no such tool; there is {', '.join(TOOLS)}")
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "`arguments` must be an object")
    try:
        return _told(tool.run(tool.arguments.model_validate(arguments)))
    except ValidationError as error:
        return _failed(f"{wrong_fields(error, tool.arguments)[0]}.")
    except (Rejected, Retryable) as error:
        return _failed(sentence(error))


def _told(answer: Answer) -> dict[str, Any]:
    content = answer.model_dump(mode="json")
    return {"content": [_text(json.dumps(content, ensure_ascii=False))], "structuredContent": content, "isError": False}


def _failed(why: str) -> dict[str, Any]:
    return {"content": [_text(why)], "isError": True}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}

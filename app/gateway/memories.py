"""Memories that callers bring, look for and take back."""

from typing import Annotated, Any

from flask import Response, g, jsonify
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.domain.finding import Source
from app.domain.json_text import BadJson, check_storable
from app.domain.memory import Memory, Place, Remembered
from app.domain.recall import Question
from app.gateway.api import Answer, Area, Query
from app.gateway.problems import BadRequest
from app.gateway.request_keys import key_of, repeatable
from app.gateway.room import room
from app.gateway.write_through import counted_memories
from app.services.keep_memories import MemoryReceipt, forget_memory, keep_memories
from app.services.memory_form import WrongMemory, memory_in
from app.services.message_form import MAX_NAME_LENGTH
from app.services.recall_memories import recall_memories

_BATCH = "/v1/memory/batch"
memories = Area("memories")
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


class MemoryBatch(BaseModel):
    """Memories to keep: each `{id, content, type?, role?, session_id?, persona_id?, namespace?, metadata?, ...}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: Annotated[list[Any], Field(min_length=1)]


class BatchItem(Answer):
    """One memory's receipt: `ok` remembered now, `queued` kept and waiting; neither where `error` says why."""

    id: str | None
    ok: bool
    queued: bool
    result: dict[str, Any] | None = None
    error: str | None = None


class BatchAnswer(Answer):
    """A receipt for each memory, in the order of the request."""

    items: list[BatchItem]


@memories.route(
    "POST",
    _BATCH,
    "Keep memories; each is kept before this answers, a wrong one spoils no other",
    body=MemoryBatch,
    answer=BatchAnswer,
    errors=(400, 409, 413, 415, 422, 503),
    headers={"Idempotency-Key": "Send the same key again to get the same receipts again (24 h)"},
    items_apart=True,
)
def post_batch(body: MemoryBatch) -> Response:
    """Judge each, keep what is right, attempt it once, answer in order."""
    serving = room().serving
    most = serving.settings.memory_batch_max_items
    if len(body.items) > most:
        raise BadRequest(413, f"a batch holds at most {most} memories; send the rest in another one")
    judged = [_judge(item) for item in body.items]
    right = [memory for memory in judged if isinstance(memory, Memory)]
    with counted_memories(_BATCH) as outcome:
        kept = keep_memories(right, key_of(body, serving.settings.soma_tenant_id), serving.memory_door)
        outcome.memories = len(kept.new)
        outcome.remembered = sum(receipt.ok for receipt in kept.new)
    receipts = iter(kept.receipts)
    items = [_item(next(receipts)) if isinstance(each, Memory) else each for each in judged]
    return repeatable(BatchAnswer(items=items).model_dump(mode="json", exclude_none=True), kept.replayed)


def _judge(item: Any) -> Memory | BatchItem:
    serving = room().serving
    settings = serving.settings
    defaults = Place(settings.soma_tenant_id, settings.soma_memory_namespace, settings.soma_namespace)
    try:
        check_storable(item)
        if not isinstance(item, dict):
            raise WrongMemory(None, "a memory must be a JSON object")
        return memory_in(item, defaults, serving.clock.now(), g.traceparent)
    except BadJson as error:
        return BatchItem(id=None, ok=False, queued=False, error=str(error))
    except WrongMemory as error:
        return BatchItem(id=error.event_id, ok=False, queued=False, error=str(error))


def _item(receipt: MemoryReceipt) -> BatchItem:
    result = _result(receipt.result) if receipt.result else None
    return BatchItem(
        id=receipt.event_id, ok=receipt.ok, queued=receipt.queued, result=result, error=receipt.error or None
    )


def _result(said: Remembered) -> dict[str, Any]:
    return {"coord": said.coordinate, "request_id": said.request_id, "trace_id": said.trace_id, "kept": said.kept}


class RecallBody(BaseModel):
    """What to remember; without a universe or a namespace those of the installation."""

    model_config = ConfigDict(title="Recall", extra="forbid", strict=True, frozen=True)

    query: Annotated[str, Field(min_length=1, max_length=32_000)]
    top_k: Annotated[int, Field(ge=1, le=50)] = 5
    session_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    universe: Name | None = None
    namespace: Name | None = None
    tenant: Name | None = None


class RecalledMemory(Answer):
    """One memory; `source` is where it was found: the memory service, what waits for it, or the replica."""

    event_id: str | None
    content: str
    score: float
    role: str | None
    source: Source
    created_at: AwareDatetime | None


class RecallAnswer(Answer):
    """Memories, best first; `degraded` where the memory service had no part in it."""

    results: list[RecalledMemory]
    degraded: bool


@memories.route(
    "POST",
    "/v1/memory/recall",
    "Find memories, also those that the memory service does not have yet",
    body=RecallBody,
    answer=RecallAnswer,
    errors=(400, 413, 415, 422, 503),
)
def post_recall(body: RecallBody) -> RecallAnswer:
    """Ask, merge, answer."""
    serving = room().serving
    settings = serving.settings
    place = Place(
        body.tenant or settings.soma_tenant_id,
        body.namespace or settings.soma_memory_namespace,
        body.universe or settings.soma_namespace,
    )
    question = Question(body.query, place, body.top_k, body.session_id, g.traceparent)
    recalled = recall_memories(question, serving.recall)
    results = [RecalledMemory.model_validate(found) for found in recalled.found]
    return RecallAnswer(results=results, degraded=recalled.degraded)


class ForgetQuery(Query):
    """Whose memory it is."""

    tenant: Name | None = None


class Forgotten(Answer):
    """No memory any more. `deleted` once the memory service has forgotten it; `queued` until then."""

    deleted: bool
    queued: bool | None = None
    result: dict[str, Any] | None = None


@memories.route(
    "DELETE",
    "/v1/memory/<memory_id>",
    "Forget a memory; where the memory service is away (202), as soon as it is back",
    query=ForgetQuery,
    answer=Forgotten,
    statuses=(200, 202),
    errors=(404, 422, 503),
)
def delete_memory(memory_id: str, query: ForgetQuery) -> Response:
    """Mark it, attempt it once, answer how far it is."""
    serving = room().serving
    tenant = query.tenant or serving.settings.soma_tenant_id
    if forget_memory(memory_id, tenant, serving.memory_door):
        return jsonify(deleted=True, result={"id": memory_id})
    answer = jsonify(deleted=False, queued=True)
    answer.status_code = 202
    return answer

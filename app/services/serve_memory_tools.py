"""The memories of whoever asked for a tool call: kept and found by the same ways as those of any other caller."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.errors import Rejected
from app.domain.finding import Found
from app.domain.memory import Place, place_of
from app.domain.ports import Clock
from app.domain.recall import Question
from app.domain.tools import MAX_RESULT_BYTES, ToolCall
from app.services.keep_memories import MemoryDoor, keep_memories
from app.services.memory_form import memory_in
from app.services.recall_memories import Recall, recall_memories

_ALL_CONTENTS_BYTES = MAX_RESULT_BYTES // 3
"""What is told of memories, without what surrounds them and what JSON adds to their texts."""


@dataclass(frozen=True, slots=True)
class MemoriesOfCalls:
    """`CallersMemories`; `universe` and `namespace` are those of calls that name none."""

    door: MemoryDoor
    found: Recall
    clock: Clock
    universe: str
    namespace: str

    def remember(self, call: ToolCall, content: str, tags: Sequence[str]) -> dict[str, Any]:
        """Kept as a memory of the call's session; `Rejected` says why it was not taken."""
        item = {
            "id": f"{call.call_id}:memory",
            "role": "assistant",
            "content": content,
            "session_id": call.session_id,
            "persona_id": call.persona_id,
            "metadata": {"tags": list(tags)},
        }
        memory = memory_in(item, self._place(call), self.clock.now(), call.traceparent)
        (receipt,) = keep_memories([memory], None, self.door).receipts
        if receipt.error:
            raise Rejected(receipt.error)
        return {"memory_id": receipt.event_id, "remembered": receipt.ok, "queued": receipt.queued}

    def recall(self, call: ToolCall, query: str, top_k: int) -> dict[str, Any]:
        """The memories of the call's tenant and place."""
        question = Question(query, self._place(call), top_k, traceparent=call.traceparent)
        recalled = recall_memories(question, self.found)
        most = _ALL_CONTENTS_BYTES // top_k
        return {"memories": [_told(found, most) for found in recalled.found], "degraded": recalled.degraded}

    def _place(self, call: ToolCall) -> Place:
        return place_of(call.tenant, call.metadata, self.universe, self.namespace)


def _told(found: Found, most_bytes: int) -> dict[str, Any]:
    return {
        "content": found.content.encode()[:most_bytes].decode(errors="ignore"),
        "role": found.role,
        "session_id": found.session_id,
        "created_at": found.created_at.isoformat() if found.created_at else None,
    }

"""The shapes of the answers, as every reader of SomaBrain's contract expects them. Pure."""

from typing import Any

from app.brain.bodies import Item, Recall
from app.brain.coordinates import as_numbers, coordinate_bytes
from app.brain.memories import Stored
from app.brain.recall import Hit, Recalled
from app.brain.writing import Fate
from app.domain.memory import Place

_OVERTAKEN = "this memory was deleted while its write was under way; it was not kept"


def remembered(place: Place, item: Item, fate: Fate, request_id: str, trace_id: str | None) -> dict[str, Any]:
    """The receipt of one memory: it is in Postgres now, or it was deleted before it came and is not kept."""
    return {
        "ok": True,
        "tenant": place.tenant,
        "namespace": place.namespace,
        "key": item.key,
        "coordinate": as_numbers(coordinate_bytes(place.universe, item.key)),
        "queued": False,
        "breaker_open": False,
        "promoted_to_wm": False,
        "persisted_to_ltm": fate is not Fate.FORGOTTEN,
        "queued_for_ltm": False,
        "deduplicated": fate is not Fate.WRITTEN,
        "importance": item.importance,
        "novelty": item.novelty,
        "ttl_applied": item.ttl_seconds is not None,
        "trace_id": item.trace_id or trace_id,
        "request_id": request_id,
        "warnings": [_OVERTAKEN] if fate is Fate.FORGOTTEN else [],
        "signals": item.signals,
    }


def recalled(asked: Recall, found: Recalled, duration_ms: float) -> dict[str, Any]:
    """One chunk of what was found; `total_results` counts all chunks."""
    hits = found.hits
    layer = "wm" if asked.layer == "wm" else "ltm"
    size = asked.chunk_size or asked.top_k
    start = asked.chunk_index * size
    return {
        "tenant": asked.tenant,
        "namespace": asked.namespace,
        "results": [_found(hit, layer) for hit in hits[start : start + size]],
        "wm_hits": len(hits) if layer == "wm" else 0,
        "ltm_hits": len(hits) if layer == "ltm" else 0,
        "duration_ms": round(duration_ms, 2),
        "session_id": asked.session_id,
        "chunk_index": asked.chunk_index,
        "has_more": start + size < len(hits),
        "total_results": len(hits),
        "chunk_size": size,
        "degraded": bool(found.degraded_reasons),
        "degraded_reasons": list(found.degraded_reasons),
    }


def listed(memory: Stored) -> dict[str, Any]:
    """A memory for operators and checkers."""
    return {
        "tenant": memory.place.tenant,
        "namespace": memory.place.namespace,
        "universe": memory.place.universe,
        "key": memory.key,
        "writes": memory.writes,
        "value": memory.value,
        "coordinate": as_numbers(memory.coordinate),
        "created_at": memory.created_at.isoformat(),
        "written_at": memory.written_at.isoformat(),
    }


def _found(hit: Hit, layer: str) -> dict[str, Any]:
    return {
        "layer": layer,
        "score": hit.score,
        "payload": hit.value,
        "coordinate": as_numbers(hit.coordinate),
        "key": hit.key,
        "source": "brain",
        "confidence": hit.score,
        "novelty": hit.novelty,
        "affinity": None,
    }

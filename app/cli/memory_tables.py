"""Memories as a person reads them in a terminal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.cli.tables import harmless, seconds_since, shortened, span, table


def memory_table(items: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """A page of memories, newest first."""
    rows = [
        [item["event_id"], item["tenant"], item.get("session_id") or "", item.get("role") or "",
         span(seconds_since(item["created_at"], now)), shortened(_content(item))]
        for item in items
    ]  # fmt: skip
    return table(("id", "tenant", "session", "role", "age", "content"), rows) if rows else ["There are none."]


def memory_lines(item: Mapping[str, Any]) -> list[str]:
    """One memory in full."""
    known = [[name, item[name]] for name in item if name != "payload" and item[name] is not None]
    return [*table(("field", "value"), known), "", *harmless(_content(item)).split("\n")]


def recall_table(results: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """What was found, best first, and where it came from."""
    rows = [
        ["" if found.get("score") is None else f"{found['score']:.2f}", found.get("source") or "",
         found.get("role") or "", _age(found.get("created_at"), now), shortened(str(found.get("content") or "")),
         found["event_id"]]
        for found in results
    ]  # fmt: skip
    return table(("score", "source", "role", "age", "content", "id"), rows) if rows else ["Nothing was found."]


def proof_table(found: Mapping[str, Any]) -> list[str]:
    """What each tenant has where; the whole is clean or not."""
    rows = [
        [name, told.get("checked", 0), *(_sum(told.get(kind)) for kind in ("missing", "extra", "differing")),
         told.get("in_flight", 0)]
        for name, told in sorted((found.get("tenants") or {}).items())
    ]  # fmt: skip
    verdict = "Everything that was accepted is everywhere it belongs." if found.get("clean") else "It is not clean."
    heads = ("tenant", "checked", "missing", "extra", "differing", "in flight")
    counted = table(heads, rows) if rows else ["There are no memories."]
    return [*counted, *_examples(found), "", verdict, *map(harmless, found.get("notes") or [])]


def _examples(found: Mapping[str, Any]) -> list[str]:
    """Some of what was found, in words."""
    rows = [
        [name, shown["event_id"], shown["store"], shown["kind"], shown["words"], shown.get("repair") or ""]
        for name, told in sorted((found.get("tenants") or {}).items())
        for shown in told.get("examples") or []
    ]
    return ["", *table(("tenant", "id", "store", "is", "how", "repair"), rows)] if rows else []


def _sum(stores: Any) -> str:
    """`2 (brain 1, wal 1)`: how many, and where."""
    counts = {name: len(told) if isinstance(told, list) else int(told) for name, told in (stores or {}).items()}
    where = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return f"{sum(counts.values())} ({where})" if where else "0"


def _content(item: Mapping[str, Any]) -> str:
    if item.get("deleted_at"):
        return "(deleted)"
    payload = item.get("payload")
    return str(payload.get("content") or "") if isinstance(payload, dict) else ""


def _age(moment: str | None, now: datetime) -> str:
    return span(seconds_since(moment, now)) if moment else ""

"""Reading `memory.wal`: bytes become a replica row or a named poison, never an exception that stops a partition."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.domain.errors import PoisonRecord
from app.domain.json_text import BadJson, parse_json

MAX_RECORD_BYTES = 1_048_576
MAX_LETTER_BYTES = 65_536
# What the replica's indexes can hold: a B-tree entry ends at 2,704 bytes.
MAX_NAME_BYTES = 2_048
_FUTURE_SECONDS = 86_400
_KNOWN_SCHEMAS = (1, 2)
_TYPES = ("memory.write", "memory.delete")


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One record of the log, ready for the replica; `body_digest` tells equal bodies from different ones."""

    event_id: str
    deleted: bool
    version: int
    session_id: str | None
    persona_id: str | None
    tenant: str
    role: str | None
    universe: str
    namespace: str
    coord: tuple[float, ...] | None
    request_id: str | None
    trace_id: str | None
    payload: Mapping[str, Any]
    wal_timestamp: float
    body_digest: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that can never be replicated, with its cause in words."""

    offset: int
    raw: bytes
    kind: str
    error: str

    @property
    def fingerprint(self) -> str:
        """Groups records that failed for the same reason."""
        return hashlib.sha256(f"{self.kind}:{self.error}".encode()).hexdigest()[:16]


def parse(value: bytes, offset: int, now: float) -> ReplicaRow:
    """The row in these bytes; `PoisonRecord` says why there is none. `now` is epoch seconds."""
    if len(value) > MAX_RECORD_BYTES:
        raise PoisonRecord("too_big", "the record is larger than 1 MiB")
    return _row(_json_object(value), offset, now)


def _json_object(value: bytes) -> dict[str, Any]:
    try:
        record = parse_json(value)
    except BadJson as error:
        raise PoisonRecord(error.kind, str(error)) from error
    if not isinstance(record, dict):
        raise PoisonRecord("bad_schema", "the record is not a JSON object")
    return record


def _row(record: dict[str, Any], offset: int, now: float) -> ReplicaRow:
    if record.get("schema", 1) not in _KNOWN_SCHEMAS:
        raise PoisonRecord("unknown_schema", "the record's schema number is not known to this version", "schema")
    if record.get("type") not in _TYPES:
        raise PoisonRecord("bad_schema", "type must be memory.write or memory.delete", "type")
    payload = _object(record, "payload")
    metadata = _object(payload, "metadata")
    result = _object(record, "result")
    return ReplicaRow(
        event_id=_required(record.get("event_id") or payload.get("id"), "event_id"),
        deleted=record["type"] == "memory.delete",
        version=_version(record),
        session_id=_text(record, "session_id"),
        persona_id=_text(record, "persona_id"),
        tenant=_required(record.get("tenant"), "tenant"),
        role=_text(record, "role"),
        universe=_name(record.get("universe") or metadata.get("universe_id"), "universe"),
        namespace=_name(record.get("namespace") or payload.get("namespace") or metadata.get("namespace"), "namespace"),
        coord=_coordinate(result.get("coord")),
        request_id=_text(result, "request_id"),
        trace_id=_text(result, "trace_id"),
        payload=payload,
        wal_timestamp=_timestamp(record, now),
        body_digest=_digest(record),
        offset=offset,
    )


def _digest(record: Mapping[str, Any]) -> bytes:
    """The same for the same content, in whatever order its keys were written."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).digest()


_BELOW = {
    "metadata": ("payload", "metadata"),
    "request_id": ("result", "request_id"),
    "trace_id": ("result", "trace_id"),
}


def _path(name: str) -> tuple[str, ...]:
    """Where a field stands in the record."""
    return _BELOW.get(name, (name,))


def _object(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PoisonRecord("bad_schema", f"{name} must be an object", *_path(name))
    return value


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise PoisonRecord("bad_schema", f"{name} must be text", *_path(name))
    return None if value is None else _name(value, name)


def _required(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise PoisonRecord("bad_schema", f"{name} is missing", name)
    return _name(value, name)


def _name(value: object, name: str) -> str:
    text = str(value or "")
    if len(text.encode()) > MAX_NAME_BYTES:
        raise PoisonRecord("bad_schema", f"{name} is longer than {MAX_NAME_BYTES} bytes", *_path(name))
    return text


def _version(record: Mapping[str, Any]) -> int:
    version = record.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**62:
        raise PoisonRecord("bad_schema", "version must be a positive number", "version")
    return version


def _timestamp(record: Mapping[str, Any], now: float) -> float:
    value = _number(record.get("timestamp"))
    if value is None:
        raise PoisonRecord("bad_schema", "timestamp must be epoch seconds", "timestamp")
    if value > now + _FUTURE_SECONDS:
        raise PoisonRecord("future", "the record's timestamp is more than a day ahead", "timestamp")
    return value


def _number(value: object) -> float | None:
    """The value as a finite number; JSON's integers have no end, a float has."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _coordinate(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = tuple(number for part in value if (number := _number(part)) is not None)
    if len(numbers) != len(value):
        raise PoisonRecord("bad_schema", "result.coord must be numbers", "result", "coord")
    return numbers


def parse_all(records: Iterable[tuple[int, bytes]], now: float) -> tuple[list[ReplicaRow], list[Poison]]:
    """Sort (offset, bytes) pairs into rows and poison."""
    good: list[ReplicaRow] = []
    bad: list[Poison] = []
    for offset, value in records:
        try:
            good.append(parse(value, offset, now))
        except PoisonRecord as error:
            bad.append(Poison(offset, value, error.kind, str(error)))
    return good, bad


def settle_versions(
    rows: Iterable[ReplicaRow], stored: Mapping[str, tuple[int, bytes]]
) -> tuple[list[ReplicaRow], list[ReplicaRow]]:
    """The newest row of each event, and the rows that contradict one: same id and version, another body. A winner has
    the timestamp of the first one that won: a memory's place in time does not depend on how records are batched.

    `stored` maps event ids to the (version, body digest) that the replica holds already.
    """
    known = dict(stored)
    winners: dict[str, ReplicaRow] = {}
    conflicts: list[ReplicaRow] = []
    for row in rows:
        version, digest = known.get(row.event_id, (0, b""))
        if row.version > version:
            known[row.event_id] = (row.version, row.body_digest)
            first = winners.get(row.event_id, row)
            winners[row.event_id] = replace(row, wal_timestamp=first.wal_timestamp)
        elif row.version == version and row.body_digest != digest:
            conflicts.append(row)
    return list(winners.values()), conflicts


def dead_letter(poison: Poison, topic: str, now: float) -> dict[str, Any]:
    """The record for `<topic>.dlq`; what was not readable travels as text with replacement characters."""
    readable = poison.raw[:MAX_LETTER_BYTES].decode("utf-8", "replace").replace("\x00", "\\u0000")
    return {
        "original_event": readable,
        "source_topic": topic,
        "error_message": poison.error,
        "error_type": poison.kind,
        "retry_count": 0,
        "timestamp": now,
    }

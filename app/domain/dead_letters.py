"""Dead letters: records of the log that could not be replicated, and what they become when a person replays them.

A letter keeps the bytes as they lay in the log. Replaying reads them (after the person's merge patch) with the rules
that the replicator reads with, so that what is sent again cannot come back as the same poison.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.errors import PoisonRecord, Rejected
from app.domain.json_text import parse_json
from app.domain.memory import WalRecord
from app.domain.merge_patch import merged
from app.domain.wal import ReplicaRow, parse, settle_versions
from app.routing import source_topic


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One letter; `raw` may be only the beginning of its `size` bytes where it is listed."""

    id: int
    topic: str
    raw: bytes
    size: int
    error: str
    error_kind: str
    fingerprint: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Open letters that failed for the same reason."""

    fingerprint: str
    kind: str
    error: str
    count: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class TopicDepth:
    """Open letters of one topic; `groups` are its largest, `group_count` says how many there are."""

    topic: str
    depth: int
    group_count: int
    groups: tuple[LetterGroup, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which open letters of a topic are meant: all that fit, with an id above `after` and at most `upto`."""

    topic: str
    fingerprint: str | None = None
    ids: tuple[int, ...] | None = None
    after: int = 0
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """A letter that can go back to its topic, and the record as which it goes."""

    letter_id: int
    row: ReplicaRow
    record: WalRecord


@dataclass(frozen=True, slots=True)
class Unfit:
    """A letter that would be poison again: `where` names the field, `reason` says what is wrong with it."""

    letter_id: int
    where: tuple[str, ...]
    reason: str


class StillPoison(Rejected):
    """A replay was refused as a whole, because these letters would come back as dead letters."""

    def __init__(self, unfit: Sequence[Unfit]) -> None:
        first = unfit[0]
        others = f"; so would {len(unfit) - 1} more" if len(unfit) > 1 else ""
        super().__init__(
            f"letter {first.letter_id} would be poison again: {first.reason}{others}; nothing was replayed"
        )
        self.unfit = tuple(unfit)


def examine(
    letters: Sequence[DeadLetter], patch: Mapping[str, Any] | None, now: float
) -> tuple[list[Replay], list[Unfit]]:
    """The letters that the replicator could read now, and those that it could not; `now` is epoch seconds."""
    fit: list[Replay] = []
    unfit: list[Unfit] = []
    for letter in letters:
        try:
            fit.append(_replay(letter, patch, now))
        except PoisonRecord as error:
            unfit.append(Unfit(letter.id, error.where, str(error)))
    return fit, unfit


def against_replica(
    replays: Sequence[Replay], stored: Mapping[str, tuple[int, bytes]]
) -> tuple[list[Replay], list[Unfit]]:
    """Sort out what the replica would refuse: the same event_id and version with another body than it holds."""
    _, conflicts = settle_versions([replay.row for replay in replays], stored)
    refused = {row.offset for row in conflicts}
    reason = "the same event_id and version is known with another body; a higher version would replace it"
    fit = [replay for replay in replays if replay.letter_id not in refused]
    return fit, [Unfit(letter_id, ("version",), reason) for letter_id in sorted(refused)]


def spread(count: int, per_second: float | None, last_due_in: float | None) -> list[float]:
    """In how many seconds each record is due, so that no more than `per_second` of them begin in a second.

    `last_due_in` is when the last record of earlier replays is due: a rate holds from one request to the next.
    """
    if per_second is None:
        return [0.0] * count
    start = 0.0 if last_due_in is None else max(0.0, last_due_in + 1 / per_second)
    return [start + number / per_second for number in range(count)]


def corrected(raw: bytes, patch: Mapping[str, Any] | None) -> bytes:
    """The record's bytes after the patch. What is not JSON at all counts as nothing: the patch must be the record."""
    if patch is None:
        return raw
    try:
        text = json.dumps(merged(_readable(raw), patch), ensure_ascii=False)
    except RecursionError:
        raise PoisonRecord("bad_json", "the record is nested too deep to be patched") from None
    # Half a surrogate pair cannot be encoded; as the escape that it came as, the reader refuses it with its reason.
    return text.encode("utf-8", "backslashreplace")


def _readable(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _replay(letter: DeadLetter, patch: Mapping[str, Any] | None, now: float) -> Replay:
    value = corrected(letter.raw, patch)
    row = parse(value, letter.id, now)
    return Replay(letter.id, row, _record(letter, row, parse_json(value)))


def _record(letter: DeadLetter, row: ReplicaRow, body: Mapping[str, Any]) -> WalRecord:
    headers = {"event_id": row.event_id, "type": body["type"]}
    trace = body.get("trace_context")
    traceparent = trace.get("traceparent") if isinstance(trace, dict) else None
    if isinstance(traceparent, str):
        headers["traceparent"] = traceparent
    return WalRecord(
        topic=source_topic(letter.topic),
        partition_key=row.session_id or row.event_id,
        dedupe_key=f"replay:{letter.id}",
        payload=body,
        headers=headers,
        tenant=row.tenant,
        session_id=row.session_id,
    )

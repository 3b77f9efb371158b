"""What SomaBrain's answers mean for a memory: kept, later, forbidden or wrong. Pure; the table is the contract's."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeGuard

from app.adapters.http.bounded import Answer
from app.adapters.http.retry_after import wait_wished
from app.domain.errors import BatchRefused, BrainCannotForget, BrainForbidden, BrainUnavailable, MemoryRefused
from app.domain.memory import Remembered
from app.domain.recall import BrainFigures

_WRONG_MEMORY = frozenset({400, 413, 422})
NO_SUCH_ROUTE = frozenset({404, 405, 501})
WRONG_CREDENTIALS = frozenset({401, 403})
_CANNOT_FORGET = frozenset({500}) | NO_SUCH_ROUTE
_SIGNS_OF_SOMABRAIN = frozenset({"ok", "success", "coordinate", "coord", "request_id", "persisted_to_ltm"})
_SIGNS_OF_A_DEED = frozenset({"ok", "success", "deleted", "linked"})
_LONGEST_WAIT_SECONDS = 300.0
_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]+")
_REASON_CHARACTERS = 500


def receipt_of(answer: Answer, request_id: str, now: datetime) -> Remembered:
    """The receipt in an answer to remember; any other meaning is raised as the contract's error table says."""
    if answer.status in _WRONG_MEMORY:
        raise MemoryRefused(f"SomaBrain refused this memory with {answer.status}: {reason(answer)}")
    return _receipt(_kept_by(answer, now), request_id)


def receipts_of(answer: Answer, request_ids: Sequence[str], now: datetime) -> list[Remembered]:
    """The receipts in an answer to a batch, in its order; `BatchRefused` where only single offers can tell more."""
    if answer.status in _WRONG_MEMORY | NO_SUCH_ROUTE:
        raise BatchRefused(f"SomaBrain refused this batch with {answer.status}: {reason(answer)}")
    results = _kept_by(answer, now).get("results")
    if not isinstance(results, list) or len(results) != len(request_ids):
        raise BrainUnavailable("the answer does not hold one result for each memory")
    if not all(isinstance(result, dict) and result.get("ok") is not False for result in results):
        raise BatchRefused("SomaBrain did not keep every memory of this batch")
    return [_receipt(result, request_id) for result, request_id in zip(results, request_ids, strict=True)]


def check_forgotten(answer: Answer, now: datetime) -> None:
    """Nothing where the memory is deleted; any other meaning is raised, `BrainCannotForget` where it has to wait."""
    if answer.status in _CANNOT_FORGET:
        wish = wait_wished(answer.headers.get("retry-after", ""), now, _LONGEST_WAIT_SECONDS)
        raise BrainCannotForget(f"SomaBrain cannot delete, it answered {answer.status}: {reason(answer)}", wish)
    check_done(answer, now)


def check_done(answer: Answer, now: datetime) -> None:
    """Nothing where SomaBrain did as it was told; any other meaning is raised as the contract's error table says."""
    if answer.status in _WRONG_MEMORY:
        raise MemoryRefused(f"SomaBrain refused this with {answer.status}: {reason(answer)}")
    if not _SIGNS_OF_A_DEED & said_by(answer, now).keys():
        raise BrainUnavailable("the answer does not come from SomaBrain")


def figures_of(answer: Answer, now: datetime) -> BrainFigures:
    """What `/memory/metrics` says; `BrainUnavailable` where it says none of it."""
    said = said_by(answer, now)
    circuit = said.get("circuit_open")
    found = BrainFigures(
        wm_items=_count(said.get("wm_items")),
        circuit_open=circuit if isinstance(circuit, bool) else None,
        outbox_pending=_count(said.get("outbox_pending")),
    )
    if found == BrainFigures(None, None, None):
        raise BrainUnavailable("the answer does not hold SomaBrain's figures")
    return found


def said_by(answer: Answer, now: datetime) -> Mapping[str, Any]:
    """The object that a SomaBrain which did its part answered with; everything else is raised."""
    retry_after = wait_wished(answer.headers.get("retry-after", ""), now, _LONGEST_WAIT_SECONDS)
    if answer.status in WRONG_CREDENTIALS:
        raise BrainForbidden(f"SomaBrain answered {answer.status}; check SOMA_API_KEY", retry_after)
    if not 200 <= answer.status < 300:
        raise BrainUnavailable(f"SomaBrain answered {answer.status}: {reason(answer)}", retry_after)
    said = _object(answer.body)
    if said.get("ok") is False or said.get("success") is False:
        raise BrainUnavailable(f"SomaBrain says that it failed: {reason(answer)}", retry_after)
    return said


def _kept_by(answer: Answer, now: datetime) -> Mapping[str, Any]:
    said = said_by(answer, now)
    if not _SIGNS_OF_SOMABRAIN & said.keys():
        raise BrainUnavailable("the answer does not come from a SomaBrain that kept the memory")
    return said


def _receipt(said: Mapping[str, Any], request_id: str) -> Remembered:
    return Remembered(
        coordinate=_coordinate(said.get("coordinate", said.get("coord"))),
        request_id=_text(said.get("request_id")) or request_id,
        trace_id=_text(said.get("trace_id")),
        kept=_kept(said),
    )


def says_well(answer: Answer) -> bool:
    """Whether an answer of `/health` says `ok`; its status alone says nothing."""
    return answer.status == 200 and _object(answer.body).get("ok") is True


def reason(answer: Answer) -> str:
    """What the other side said was wrong, short and storable."""
    detail = _without_our_words(_object(answer.body).get("detail"))
    text = detail if isinstance(detail, str) else _as_text(detail)
    return _UNSTORABLE.sub(" ", text)[:_REASON_CHARACTERS] or "no reason given"


def _as_text(detail: object) -> str:
    try:
        return json.dumps(detail) if detail else ""
    except RecursionError:
        return ""


def _without_our_words(detail: object) -> object:
    """Lists of complaints repeat what they complain about; that belongs into no log and no reason."""
    if not isinstance(detail, list):
        return detail
    return [{k: v for k, v in each.items() if k != "input"} if isinstance(each, dict) else each for each in detail]


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _coordinate(found: object) -> tuple[float, float, float] | None:
    if not isinstance(found, list) or len(found) != 3:
        return None
    x, y, z = found
    return (float(x), float(y), float(z)) if is_number(x) and is_number(y) and is_number(z) else None


def is_number(part: object) -> TypeGuard[int | float]:
    """Whether this is a number that means something."""
    return isinstance(part, int | float) and not isinstance(part, bool) and abs(part) < 1e9 and math.isfinite(part)


def _count(found: object) -> int | None:
    return int(found) if is_number(found) and found >= 0 else None


def _text(found: object) -> str | None:
    return _UNSTORABLE.sub("", found)[:200] if isinstance(found, str) else None


def _kept(said: Mapping[str, Any]) -> bool:
    lost = said.get("persisted_to_ltm") is False and not said.get("queued_for_ltm")
    return not (said.get("queued") is True or lost)

"""JSON as it may be stored: parsed once, at the door, and refused with a reason instead of failing further in."""

import json
import math
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any

MAX_DEPTH = 64
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class BadJson(Exception):
    """The bytes are not JSON that can be kept; `kind` is bad_json or bad_text, the text says what to change."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def parse_json(raw: bytes) -> Any:
    """The value in UTF-8 `raw`; `BadJson` for NaN, 1e999, repeated keys, NUL, lone surrogates, BOM, deep nesting."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise BadJson("bad_json", "the text is not UTF-8") from None
    except RecursionError:
        raise BadJson("bad_json", f"the JSON is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise BadJson("bad_json", f"the text is not JSON: {error}") from None
    check_storable(value)
    return value


def check_storable(value: object) -> None:
    """Nothing where this parsed JSON can be kept; `BadJson` as `parse_json` would have raised it."""
    _check(value, MAX_DEPTH)


def storable(text: str) -> bool:
    """Whether Postgres can keep this text."""
    return _UNSTORABLE.search(text) is None


def replace_unstorable(text: str) -> str:
    """The text with a replacement character for each one that Postgres cannot keep; its length stays the same."""
    return _UNSTORABLE.sub("\ufffd", text)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names the same key twice")
    return found


def _check(value: object, depth: int) -> None:
    if depth == 0:
        raise BadJson("bad_json", f"the JSON is nested deeper than {MAX_DEPTH} levels")
    for part in _parts(value):
        _check(part, depth - 1)
    if isinstance(value, str) and not storable(value):
        raise BadJson("bad_text", "a text holds NUL (\\u0000) or half a surrogate pair; remove it")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadJson("bad_json", "a number is too large")


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return chain(value.keys(), value.values())
    return value if isinstance(value, list) else ()

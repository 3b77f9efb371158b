"""JSON merge patch (RFC 7386): the correction that a person makes to a record before it is replayed."""

from collections.abc import Iterator, Mapping
from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """The patched value: null removes a key, objects merge, anything else replaces. Neither argument is changed.

    A target that is no object counts as an empty one, so a patch that is a whole record replaces what was unreadable.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def touched(patch: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted names that a patch sets or removes, without their values: what an audit may keep for years."""
    for name, value in patch.items():
        if isinstance(value, dict) and value:
            yield from touched(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"

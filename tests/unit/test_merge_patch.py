"""The merge patch does what RFC 7386 says, and its audit names what was touched without telling the values."""

from typing import Any

import pytest

from app.domain.merge_patch import merged, touched

# The examples of RFC 7386, appendix A: (original, patch, result).
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), EXAMPLES)
def test_the_examples_of_the_rfc(original: Any, patch: Any, result: Any) -> None:
    assert merged(original, patch) == result


def test_neither_the_original_nor_the_patch_is_changed() -> None:
    original, patch = {"a": {"b": 1}}, {"a": {"c": {"d": 2}}}

    result = merged(original, patch)
    result["a"]["c"]["d"] = 3

    assert original == {"a": {"b": 1}}
    assert patch == {"a": {"c": {"d": 2}}}


def test_the_audit_learns_names_and_no_values() -> None:
    assert list(touched({"payload": {"content": "secret", "x": None}, "role": "user", "result": {}})) == [
        "payload.content",
        "payload.x",
        "role",
        "result",
    ]

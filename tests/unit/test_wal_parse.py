"""Every record of the log becomes a row or a named poison; nothing whatever stops a partition."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import PoisonRecord
from app.domain.wal import MAX_LETTER_BYTES, Poison, dead_letter, parse, parse_all, settle_versions
from tests.builders import NOW, a_wal_body, wal_bytes

NOW_SECONDS = NOW.timestamp()
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def poison(**fields: Any) -> PoisonRecord:
    with pytest.raises(PoisonRecord) as caught:
        parse(wal_bytes(**{"event_id": "e-1", **fields}), 0, NOW_SECONDS)
    return caught.value


def test_a_record_becomes_a_row_with_everything_in_it() -> None:
    row = parse(wal_bytes("e-1"), 7, NOW_SECONDS)

    assert (row.event_id, row.version, row.deleted, row.offset) == ("e-1", 1, False, 7)
    assert (row.tenant, row.universe, row.namespace, row.session_id, row.role) == ("t1", "u-1", "wm", "s-1", "user")
    assert (row.coord, row.request_id, row.trace_id) == ((0.1, 0.2, 0.3), "r-1", None)
    assert (row.wal_timestamp, row.payload["content"]) == (NOW_SECONDS, "hello")


def test_an_older_record_says_the_same_in_other_places() -> None:
    body = a_wal_body("e-1")
    for name in ("schema", "event_id", "version", "universe", "namespace"):
        del body[name]
    body["payload"] |= {"id": "e-9", "namespace": "ns", "metadata": {"universe_id": "u-9"}}

    row = parse(json.dumps(body).encode(), 0, NOW_SECONDS)

    assert (row.event_id, row.version, row.universe, row.namespace) == ("e-9", 1, "u-9", "ns")


def test_a_record_without_coordinate_is_fine() -> None:
    assert parse(wal_bytes(result={"coord": None}), 0, NOW_SECONDS).coord is None
    assert parse(wal_bytes(result=None), 0, NOW_SECONDS).coord is None


def test_the_digest_tells_bodies_apart_and_not_the_order_of_their_keys() -> None:
    body = a_wal_body("e-1")
    turned = json.dumps(dict(reversed(body.items()))).encode()

    one, two, other = (parse(raw, 0, NOW_SECONDS) for raw in (wal_bytes("e-1"), turned, wal_bytes("e-1", role="tool")))

    assert one.body_digest == two.body_digest != other.body_digest


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"schema": 3}, "unknown_schema"), ({"schema": "2"}, "unknown_schema"), ({"schema": []}, "unknown_schema"),
        ({"type": "memory.read"}, "bad_schema"), ({"type": None}, "bad_schema"), ({"type": {}}, "bad_schema"),
        ({"payload": {"id": 7}, "event_id": 7}, "bad_schema"), ({"tenant": ""}, "bad_schema"),
        ({"tenant": None}, "bad_schema"),
        ({"version": 0}, "bad_schema"), ({"version": "1"}, "bad_schema"), ({"version": True}, "bad_schema"),
        ({"version": 2**62}, "bad_schema"), ({"payload": []}, "bad_schema"), ({"payload": "x"}, "bad_schema"),
        ({"result": 1}, "bad_schema"), ({"session_id": 1}, "bad_schema"), ({"role": []}, "bad_schema"),
        ({"timestamp": None}, "bad_schema"), ({"timestamp": "now"}, "bad_schema"), ({"timestamp": True}, "bad_schema"),
        ({"timestamp": 10**400}, "bad_schema"), ({"result": {"coord": ["a"]}}, "bad_schema"),
        ({"result": {"coord": [True]}}, "bad_schema"), ({"result": {"coord": [10**400]}}, "bad_schema"),
        ({"timestamp": NOW_SECONDS + 86_401}, "future"), ({"tenant": "x" * 3000}, "bad_schema"),
        ({"session_id": "é" * 1500}, "bad_schema"), ({"payload": {"metadata": []}}, "bad_schema"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_replicated_is_poison_with_a_kind(fields: dict[str, Any], kind: str) -> None:
    error = poison(**fields)

    assert error.kind == kind
    assert str(error)


def test_a_record_from_tomorrow_morning_is_taken() -> None:
    assert parse(wal_bytes(timestamp=NOW_SECONDS + 86_000), 0, NOW_SECONDS)


@given(st.sampled_from(sorted(a_wal_body())), anything)
def test_no_value_in_any_field_stops_a_partition(field: str, value: object) -> None:
    good, bad = parse_all([(0, json.dumps({**a_wal_body(), field: value}).encode())], NOW_SECONDS)

    assert len(good) + len(bad) == 1


@given(st.sampled_from(["coord", "trace_id", "request_id"]), anything)
def test_no_result_stops_a_partition(field: str, value: object) -> None:
    good, bad = parse_all([(0, wal_bytes(result={field: value}))], NOW_SECONDS)

    assert len(good) + len(bad) == 1


@given(st.binary(max_size=200))
def test_no_bytes_stop_a_partition(raw: bytes) -> None:
    good, bad = parse_all([(0, raw), (1, wal_bytes())], NOW_SECONDS)

    assert [row.offset for row in good] == [1]
    assert [item.offset for item in bad] == [0]


def test_poison_of_one_cause_has_one_fingerprint() -> None:
    _, bad = parse_all(enumerate([wal_bytes("a", schema=9), wal_bytes("b", schema=9), b"{"]), NOW_SECONDS)

    assert bad[0].fingerprint == bad[1].fingerprint != bad[2].fingerprint


@given(st.binary(max_size=100))
def test_a_dead_letter_can_always_be_stored_and_read(raw: bytes) -> None:
    letter = dead_letter(Poison(0, raw, "bad_json", "why"), "memory.wal", NOW_SECONDS)

    text = json.dumps(letter, ensure_ascii=False)
    assert "\x00" not in letter["original_event"]
    assert json.loads(text.encode()) == letter


def test_a_dead_letter_is_never_too_large_to_send() -> None:
    letter = dead_letter(Poison(0, b"\xff" * 2_000_000, "too_big", "why"), "memory.wal", NOW_SECONDS)

    assert len(json.dumps(letter, ensure_ascii=False).encode()) < 5 * MAX_LETTER_BYTES


def rows(*versions: tuple[str, int, str]) -> list[Any]:
    return [
        parse(wal_bytes(event_id, version=version, role=role), number, NOW_SECONDS)
        for number, (event_id, version, role) in enumerate(versions)
    ]


def test_only_what_is_newer_than_what_is_stored_wins() -> None:
    one, two, old = rows(("a", 1, "user"), ("a", 3, "user"), ("a", 2, "user"))

    assert settle_versions([one, two, old], {}) == ([two], [])
    assert settle_versions([old], {"a": (3, two.body_digest)}) == ([], [])


def test_the_same_version_with_another_body_is_a_conflict() -> None:
    first, again, other = rows(("a", 1, "user"), ("a", 1, "user"), ("a", 1, "tool"))

    assert settle_versions([first, again, other], {}) == ([first], [other])
    assert settle_versions([other], {"a": (1, first.body_digest)}) == ([], [other])

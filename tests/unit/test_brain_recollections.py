"""What answers to a question mean, whatever shape they have."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.http.bounded import Answer
from app.adapters.http.brain_recollections import recollections_of
from app.domain.errors import BrainUnavailable
from app.domain.json_text import parse_json
from app.domain.memory import Place
from app.domain.recall import Question, Recollection

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = Question("kitten", Place("t1", "wm", "u-1"), top_k=50)


def found(said: object, question: Question = ASKED, older: bool = False) -> list[Recollection]:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return recollections_of(Answer(200, {}, body), question, older, NOON)


def texts(*items: Any) -> list[str]:
    return [each.content for each in found({"results": list(items)})]


@pytest.mark.parametrize("name", ["results", "memory", "memories", "wm"])
def test_the_list_has_one_of_four_names(name: str) -> None:
    assert [each.content for each in found({name: [{"payload": {"content": "a"}}]})] == ["a"]


def test_an_empty_list_does_not_hide_a_full_one() -> None:
    assert len(found({"results": [], "memory": [{"text": "a"}], "wm": [{"text": "b"}]})) == 1
    assert found({"results": [], "wm": []}) == []


def test_the_text_has_many_names() -> None:
    names = ["content", "text", "what", "task"]
    assert texts(*[{"payload": {name: name}} for name in names]) == names
    assert texts(*[{name: name} for name in names]) == names
    assert texts({"score": 0.5, "content": {"what": "inside"}}) == ["inside"]
    assert texts({"payload": {"content": "", "task": "the other"}}) == ["the other"]


def test_a_memory_is_named_by_its_key_or_else_by_the_id_it_carries() -> None:
    items = [{"key": "k", "payload": {"id": "i"}}, {"payload": {"id": "i"}}, {"content": "plain", "id": "p"}]
    assert [each.event_id for each in found({"results": items})] == ["k", "i", "p"]


def test_a_memory_that_lies_in_two_layers_is_found_once() -> None:
    twice = [{"key": "m-1", "layer": layer, "payload": {"content": layer}} for layer in ("wm", "ltm")]
    assert texts(*twice) == ["wm"]


def test_no_more_are_brought_than_were_wanted() -> None:
    items = [{"key": f"m-{number}"} for number in range(9)]
    assert len(found({"results": items}, Question("q", ASKED.place, top_k=4))) == 4


def test_one_odd_find_spoils_no_other() -> None:
    odd = [None, 7, "text", [], {}, {"payload": None}, {"payload": []}, {"key": 7, "payload": {"content": 7}}]
    assert texts(*odd, {"payload": {"content": "good"}}) == ["good"]


@pytest.mark.parametrize("score", ["0.5", None, True, [], float("nan"), float("inf"), 1e300])
def test_a_score_is_a_number_that_means_something_or_nothing(score: object) -> None:
    assert found({"results": [{"key": "m-1", "score": score}]})[0].score is None


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_nothing_that_cannot_be_stored_comes_through(text: str) -> None:
    (only,) = found({"results": [{"key": "m-1", "payload": {"content": text, "note": text}}]})
    assert only == Recollection("m-1", "a\ufffdb", None, {})
    (unnamed,) = found({"results": [{"key": text, "payload": {"content": "good"}}]})
    assert unnamed.event_id is None


def test_a_payload_nested_too_deeply_does_not_come_through() -> None:
    deep = json.dumps({"results": [{"key": "m-1", "payload": {"content": "good", "deep": "HERE"}}]})
    (only,) = found(deep.replace('"HERE"', "[" * 90 + "]" * 90).encode())
    assert (only.content, only.payload) == ("good", {})


def test_the_older_route_brings_only_what_says_it_is_from_here() -> None:
    here = {"tenant": "t1", "namespace": "wm", "universe": "u-1", "content": "a"}
    others = [{**here, "tenant": "t2"}, {**here, "namespace": "notes"}, {**here, "universe": "u-2"}, {"content": "b"}]
    items = [{"payload": each} for each in [*others, here]]
    assert [each.payload for each in found({"memory": items}, older=True)] == [here]
    assert len(found({"memory": items})) == 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
shapes = st.fixed_dictionaries(
    {}, optional={name: json_values for name in ("key", "score", "payload", "content", "text", "id", "what", "task")}
)


@given(st.lists(shapes | json_values, max_size=6))
def test_every_find_can_be_stored(items: list[Any]) -> None:
    for each in found({"results": items}):
        parse_json(json.dumps([each.event_id, each.content, each.score, dict(each.payload)]).encode())


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    try:
        assert isinstance(found(body), list)
    except BrainUnavailable:
        return

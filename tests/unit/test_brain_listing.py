"""What a SomaBrain lists is read as it is meant, and one that does not list is told from one that is away."""

import json
from typing import Any

import pytest

from app.adapters.http.bounded import Answer
from app.adapters.http.brain_listing import list_items, page_of
from app.domain.errors import BrainCannotList, BrainForbidden, BrainUnavailable
from app.domain.memory import Place
from tests.builders import NOW


def answer(body: Any, status: int = 200) -> Answer:
    return Answer(status, {}, json.dumps(body).encode())


def test_a_page_is_items_and_the_way_to_the_next() -> None:
    item = {"tenant": "t1", "namespace": "wm", "universe": "real", "key": "m-1", "value": {"content": "hi"}}

    page = page_of(answer({"items": [item], "next_cursor": "c"}), "t1", NOW)

    assert (page.items[0].place, page.items[0].key, page.items[0].value) == (
        Place("t1", "wm", "real"),
        "m-1",
        {"content": "hi"},
    )
    assert page.cursor == "c"
    assert list_items("t ä", "c", 10).parameters == {"tenant": "t ä", "limit": "10", "after": "c"}


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (answer({"detail": "Not Found"}, 404), BrainCannotList),
        (answer({"detail": "no"}, 422), BrainCannotList),
        (answer({"ok": True}), BrainCannotList),
        (answer({"items": ["m-1"], "next_cursor": None}), BrainCannotList),
        (answer({"detail": "no"}, 401), BrainForbidden),
        (answer({"detail": "no"}, 503), BrainUnavailable),
        (Answer(200, {}, b"<html>"), BrainUnavailable),
    ],
)
def test_who_does_not_list_is_told_from_who_is_away(told: Answer, error: type[Exception]) -> None:
    with pytest.raises(error):
        page_of(told, "t1", NOW)

"""Looking for words in conversations over HTTP: what people said, what they were answered, page by page."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.builders import an_id
from tests.integration.gateway_process import Answerer, Gateway, assert_problem
from tests.integration.test_gateway_pages import WRONG, pages
from tests.utterance_rows import say

PATH = "/v1/sessions/search"
ITEM = {"session_id", "tenant", "subject", "title", "seq", "type", "role", "snippet", "created_at"}


def found(gateway: Gateway, **query: Any) -> list[dict[str, Any]]:
    answer = gateway.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_message_and_its_answer_are_found_newest_first(gateway: Gateway, answerer: Answerer) -> None:
    tenant = an_id("t-")
    receipt = gateway.say("where does the otter sleep", metadata={"tenant": tenant})
    answerer.answer(receipt["event_id"], "the otter ", "sleeps in the river")

    answer, question = found(gateway, q="OTTER the", tenant=tenant)

    assert set(answer) == ITEM
    assert (answer["role"], answer["snippet"]) == ("assistant", "the otter sleeps in the river")
    assert (question["role"], question["snippet"], question["seq"]) == ("user", "where does the otter sleep", 1)
    assert (answer["session_id"], question["session_id"]) == (receipt["session_id"],) * 2
    assert found(gateway, q="otter badger", tenant=tenant) == []
    assert found(gateway, q="otter", tenant=an_id("t-")) == []


def test_how_far_a_stopped_answer_had_come_is_found(gateway: Gateway, engine: Engine) -> None:
    tenant, _ = say(engine, "the otter sle", kind="assistant.cancelled", role="assistant")

    (item,) = found(gateway, q="otter", tenant=tenant)

    assert (item["type"], item["snippet"]) == ("assistant.cancelled", "the otter sle")


def test_a_search_is_paged_without_gap_or_repeat(gateway: Gateway) -> None:
    tenant = an_id("t-")
    said = [gateway.say(f"otter number {number}", metadata={"tenant": tenant}) for number in range(7)]

    items = pages(gateway, PATH, 3, tenant=tenant, q="otter")

    assert [item["session_id"] for item in items] == [receipt["session_id"] for receipt in said][::-1]


@pytest.mark.parametrize("query", WRONG, ids=lambda query: query[:30])
def test_a_wrong_question_is_422(gateway: Gateway, query: str) -> None:
    assert_problem(gateway.get(f"{PATH}?q=otter&{query}"), 422)


@pytest.mark.parametrize("query", ["", "q=", "q=%20", "q=?!", "q=" + "x" * 501, "q=a&q=b", "q=%00"])
def test_a_search_for_nothing_says_what_is_missing(gateway: Gateway, query: str) -> None:
    assert_problem(gateway.get(f"{PATH}?{query}"), 422, "q")


def test_a_cursor_of_another_search_is_422(gateway: Gateway) -> None:
    tenant = an_id("t-")
    for _ in range(2):
        gateway.say("an otter and a badger", metadata={"tenant": tenant})
    page = gateway.get(PATH, params={"q": "otter", "tenant": tenant, "limit": 1}).json()

    elsewhere = {"q": "badger", "tenant": tenant, "after": page["next_cursor"]}
    assert_problem(gateway.get(PATH, params=elsewhere), 422, "other filters")

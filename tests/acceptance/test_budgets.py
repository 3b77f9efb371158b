"""A small budget on the whole running system, with the real model: it ends in words, and a larger one goes on."""

import json
import urllib.request
from typing import Any

import pytest

from devstack.stack import Stack
from tests.acceptance.following import Follower, call
from tests.builders import an_id
from tests.conftest import eventually

pytestmark = pytest.mark.servers


def put(base: str, path: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}{path}", json.dumps(body).encode(), headers, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def ending_of(gateway: str, tenant: str) -> dict[str, Any]:
    """The last word on a new message of this tenant."""
    message = {"message": "Tell a long story about a boat.", "metadata": {"tenant": tenant}}
    reader = Follower(gateway, call(gateway, "/v1/session/message", message)["session_id"], memories=0)
    reader.start()
    (end,) = eventually(lambda: reader.endings)
    return end


def test_a_budget_that_is_spent_ends_turns_in_words_until_there_is_more(stack: Stack) -> None:
    gateway, tenant = stack.url("gateway"), an_id("t-budget-")
    path = f"/v1/budgets/tenant/{tenant}"
    put(gateway, path, {"tokens_per_day": 170})

    first, second = ending_of(gateway, tenant), ending_of(gateway, tenant)

    usage = first["metadata"]["usage"]
    spent = usage["input_tokens"] + usage["output_tokens"]
    budget = call(gateway, path)
    assert first["type"] == "assistant.final"
    assert (budget["used"], budget["reserved"]) == (spent, 0)
    assert second["type"] == "assistant.error"
    told = second["metadata"]["budget"]
    assert told == {"dimension": "tenant", "limit": 170, "used": spent, "refills_at": told["refills_at"]}
    assert told["refills_at"][:10] in second["metadata"]["reason"]
    (line,) = call(gateway, f"/v1/usage?tenant={tenant}&by=model")["items"]
    assert (line["requests"], line["input_tokens"] + line["output_tokens"]) == (1, spent)

    put(gateway, path, {"tokens_per_day": 10_000})

    assert ending_of(gateway, tenant)["type"] == "assistant.final"

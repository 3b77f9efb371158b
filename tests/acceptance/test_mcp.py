"""An MCP client on the whole running system: what it keeps is recalled, what was said is found."""

from typing import Any

import pytest
from mcp import Client

from devstack.stack import Stack
from tests.acceptance.following import Follower, call
from tests.builders import an_id
from tests.conftest import eventually
from tests.mcp_client import VERSIONS, call_mcp, with_mcp

pytestmark = pytest.mark.servers


def test_an_mcp_client_remembers_recalls_and_forgets(stack: Stack) -> None:
    base, tenant = stack.url("gateway"), an_id("t-")

    async def live(client: Client) -> Any:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        asked = {"content": "the otter Miso sleeps in the river", "tenant": tenant}
        return tools, await client.call_tool("remember", asked)

    tools, kept = with_mcp(base, live)
    memory_id = kept.structured_content["id"]

    assert tools == {"remember", "recall", "forget", "search_conversations"}
    assert kept.structured_content["ok"] or kept.structured_content["queued"]
    assert eventually(lambda: _recalled(base, tenant), 30) == [memory_id]
    listing = f"/v1/admin/memory?tenant={tenant}"
    eventually(lambda: [item["event_id"] for item in call(base, listing)["items"]] == [memory_id], 30)

    assert not call_mcp(base, "forget", id=memory_id, tenant=tenant).is_error
    eventually(lambda: _recalled(base, tenant) == [], 30)
    eventually(lambda: call(base, listing)["items"][0]["deleted_at"], 30)


def _recalled(base: str, tenant: str) -> list[str]:
    found = call_mcp(base, "recall", query="where does Miso sleep", tenant=tenant)
    return [each["event_id"] for each in found.structured_content["results"]]


@pytest.mark.parametrize("mode", VERSIONS)
def test_a_conversation_that_happened_is_found_by_its_words(stack: Stack, mode: str) -> None:
    base, tenant = stack.url("gateway"), an_id("t-")
    message = {"message": "say something about an axolotl, please", "metadata": {"tenant": tenant}}
    session_id = call(base, "/v1/session/message", message)["session_id"]
    follower = Follower(base, session_id, memories=0)
    follower.start()
    eventually(lambda: follower.endings)
    answer = follower.endings[0]
    word = next((each for each in answer["message"].split() if each.isascii() and each.isalnum()), "axolotl")

    question = call_mcp(base, "search_conversations", mode, query="axolotl please", tenant=tenant).structured_content
    everything = call(base, f"/v1/sessions/search?q={word}&tenant={tenant}")["items"]

    found = [(item["session_id"], item["seq"], item["role"]) for item in question["items"]]
    assert (session_id, 1, "user") in found
    assert {item["session_id"] for item in everything} == {session_id}
    assert word == "axolotl" or (answer["seq"], "assistant.final") in {(it["seq"], it["type"]) for it in everything}

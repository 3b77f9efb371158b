"""The MCP server as the official client finds it, and as clients that are wrong do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from mcp import Client, MCPError
from sqlalchemy import Engine, text

from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.contracts.brain_rig import ServedBrain
from tests.integration.gateway_process import Answerer, Gateway, assert_problem
from tests.mcp_client import VERSIONS, call_mcp, with_mcp

pytestmark = pytest.mark.servers
JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
TOOLS = {"remember", "recall", "forget", "search_conversations"}


@pytest.fixture(scope="module")
def brain(servers: Stack) -> Iterator[ServedBrain]:
    running = ServedBrain(servers.environment["POSTGRES_DSN"])
    yield running
    running.close()


@pytest.fixture(scope="module")
def remembering(servers: Stack, brain: ServedBrain) -> Iterator[Gateway]:
    settings = {"GATEWAY_CORS_ORIGINS": "https://app.example", "SOMA_RECALL_SECONDS": "5"}
    running = Gateway(servers.environment, SOMA_BASE_URL=brain.url, **settings).start()
    yield running
    running.stop()


def post(gateway: Gateway, body: Any, **headers: str) -> requests.Response:
    """Send a message; bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.call("POST", "/mcp", data=raw, headers={**JSON, **named})


def error_of(answer: requests.Response, status: int, code: int) -> dict[str, Any]:
    """The JSON-RPC error of an answer."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json"), answer.text
    told: dict[str, Any] = answer.json()
    assert told["jsonrpc"] == "2.0"
    assert told["error"]["code"] == code
    assert told["error"]["message"]
    return told


# --- the official client


@pytest.mark.parametrize(("mode", "version"), VERSIONS.items())
def test_the_official_client_connects_and_lists_our_tools(remembering: Gateway, mode: str, version: str) -> None:
    async def look(client: Client) -> Any:
        return client.protocol_version, client.server_info, client.instructions, (await client.list_tools()).tools

    agreed, server, instructions, tools = with_mcp(remembering.base, look, mode)

    assert agreed == version
    assert (server.name, bool(server.version), bool(instructions)) == ("somaagent01", True, True)
    hints = {tool.name: tool.annotations for tool in tools}
    assert hints.keys() == TOOLS
    assert {name for name, hint in hints.items() if hint.read_only_hint} == {"recall", "search_conversations"}
    assert {name for name, hint in hints.items() if hint.destructive_hint} == {"forget"}
    assert not hints["remember"].idempotent_hint
    for tool in tools:
        assert tool.description
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"


@pytest.mark.parametrize("mode", VERSIONS)
def test_what_is_remembered_is_recalled_and_forgotten(remembering: Gateway, mode: str) -> None:
    tenant = an_id("t-")

    async def live(client: Client) -> Any:
        kept = await client.call_tool("remember", {"content": "my cat is called Miso", "tenant": tenant})
        asked = {"query": "what is my cat called", "tenant": tenant}
        found = await client.call_tool("recall", asked)
        gone = await client.call_tool("forget", {"id": kept.structured_content["id"], "tenant": tenant})
        return kept, found, gone, await client.call_tool("recall", asked)

    kept, found, gone, after = with_mcp(remembering.base, live, mode)

    assert (kept.structured_content["ok"], kept.structured_content["queued"]) == (True, False)
    (memory,) = found.structured_content["results"]
    assert (memory["event_id"], memory["content"]) == (kept.structured_content["id"], "my cat is called Miso")
    assert json.loads(found.content[0].text) == found.structured_content
    assert (gone.structured_content["deleted"], after.structured_content["results"]) == (True, [])
    assert not any(result.is_error for result in (kept, found, gone, after))


def test_a_conversation_that_happened_is_found(remembering: Gateway, answerer: Answerer) -> None:
    tenant = an_id("t-")
    receipt = remembering.say("where does the otter sleep", metadata={"tenant": tenant})
    answerer.answer(receipt["event_id"], "the otter sleeps in the river")

    first = call_mcp(remembering.base, "search_conversations", query="otter", tenant=tenant, limit=1).structured_content
    rest = call_mcp(
        remembering.base, "search_conversations", query="otter", tenant=tenant, after=first["next_cursor"]
    ).structured_content

    said = [item["snippet"] for page in (first, rest) for item in page["items"]]
    assert said == ["the otter sleeps in the river", "where does the otter sleep"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("name", ["id", "idempotency_key"])
def test_a_repeated_call_keeps_nothing_twice(remembering: Gateway, engine: Engine, name: str) -> None:
    tenant, key = an_id("t-"), an_id("m-")
    asked = {"content": "once", "tenant": tenant, name: key}

    first, again = (call_mcp(remembering.base, "remember", **asked).structured_content for _ in range(2))

    assert (first["id"], again["ok"]) == (again["id"], True)
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT count(*) FROM memory_ledger WHERE tenant = :t"), {"t": tenant})
        assert kept.scalar_one() == 1
    other = call_mcp(remembering.base, "remember", **{**asked, "content": "other words"})
    assert other.is_error
    assert "other content" in other.content[0].text


def test_one_key_of_two_tenants_is_two_memories(remembering: Gateway) -> None:
    mine, theirs = (
        call_mcp(remembering.base, "remember", content="x", idempotency_key="k", tenant=an_id("t-")) for _ in range(2)
    )

    assert mine.structured_content["id"] != theirs.structured_content["id"]


def test_while_somabrain_is_away_a_memory_is_queued_and_found(remembering: Gateway, brain: ServedBrain) -> None:
    tenant = an_id("t-")
    brain.stop()
    try:
        kept = call_mcp(remembering.base, "remember", content="my name is Ada", tenant=tenant)
        found = call_mcp(remembering.base, "recall", query="name", tenant=tenant)
        gone = call_mcp(remembering.base, "forget", id=kept.structured_content["id"], tenant=tenant)
    finally:
        brain.start()
        eventually(lambda: not call_mcp(remembering.base, "recall", query="x").structured_content["degraded"], 30)

    assert (kept.is_error, kept.structured_content["ok"], kept.structured_content["queued"]) == (False, False, True)
    assert "ueued" in kept.content[0].text
    assert found.structured_content["degraded"]
    assert [each["content"] for each in found.structured_content["results"]] == ["my name is Ada"]
    assert gone.structured_content["queued"]


FAILURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown memory": ("forget", {"id": "nobody"}, "no such memory"),
    "nothing to remember": ("remember", {"content": ""}, "content"),
    "content that is no text": ("remember", {"content": 7}, "content"),
    "an id with a space": ("remember", {"content": "x", "id": "a b"}, "id"),
    "a field that there is not": ("remember", {"content": "x", "colour": "red"}, "colour"),
    "a question too many": ("recall", {"query": "x", "top_k": 51}, "top_k"),
    "words that cannot be looked for": ("search_conversations", {"query": "?!"}, "at least one letter"),
    "a cursor from nowhere": ("search_conversations", {"query": "x", "after": "nonsense"}, "cursor"),
}


@pytest.mark.parametrize(("tool", "arguments", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_what_goes_wrong_in_a_tool_is_a_result_that_says_why(
    remembering: Gateway, tool: str, arguments: dict[str, Any], words: str
) -> None:
    result = call_mcp(remembering.base, tool, **arguments)

    assert result.is_error
    assert words in result.content[0].text
    assert result.structured_content is None


@pytest.mark.parametrize("mode", VERSIONS)
def test_an_unknown_tool_is_an_error_of_the_protocol(remembering: Gateway, mode: str) -> None:
    async def refused(client: Client) -> int:
        with pytest.raises(MCPError, match="no such tool") as caught:
            await client.call_tool("dig", {})
        return caught.value.code

    assert with_mcp(remembering.base, refused, mode) == -32602


def test_a_conversation_with_the_server_goes_on_after_it_was_restarted(servers: Stack, brain: ServedBrain) -> None:
    gateway = Gateway(servers.environment, SOMA_BASE_URL=brain.url, GATEWAY_WORKERS="1").start()
    try:

        async def live(client: Client) -> Any:
            await client.list_tools()
            gateway.stop()
            gateway.start()
            return await client.call_tool("recall", {"query": "x"})

        assert not with_mcp(gateway.base, live, "legacy").is_error
    finally:
        gateway.stop()


# --- clients that are wrong


def test_a_handshake_is_answered_with_the_version_asked_for(remembering: Gateway) -> None:
    params = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    answer = post(remembering, {**PING, "method": "initialize", "params": params})

    result = answer.json()["result"]
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert (result["protocolVersion"], result["capabilities"]) == ("2025-03-26", {"tools": {"listChanged": False}})
    assert "Mcp-Session-Id" not in answer.headers


def test_a_ping_is_answered_and_a_notification_is_taken(remembering: Gateway) -> None:
    assert post(remembering, PING).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    taken = post(remembering, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (taken.status_code, taken.content) == (202, b"")


BROKEN: dict[str, tuple[Any, int]] = {
    "nothing": (b"", -32700),
    "no JSON": (b"{", -32700),
    "no UTF-8": (b'{"x": "\xff"}', -32700),
    "NaN": (b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}', -32700),
    "a key twice": (b'{"id": 1, "id": 2}', -32700),
    "nested without end": (b"[" * 100_000, -32700),
    "a number without end": (b"1" * 10_000, -32700),
    "a number": (7, -32600),
    "null": (None, -32600),
    "an empty batch": ([], -32600),
    "a batch that is too long": ([PING] * 51, -32600),
    "no id that can be": ({**PING, "id": None}, -32600),
}


@pytest.mark.parametrize(("body", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_message_is_400_under_no_id(remembering: Gateway, body: Any, code: int) -> None:
    assert error_of(post(remembering, body), 400, code)["id"] is None


@pytest.mark.parametrize("method", ["resources/list", "prompts/list", "logging/setLevel", "", "server/discover"])
def test_an_unknown_method_is_told_so(remembering: Gateway, method: str) -> None:
    assert error_of(post(remembering, {**PING, "method": method}), 200, -32601)["id"] == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {}), ("tools/call", {"name": "dig"}), ("tools/call", {"name": ["recall"]}),
        ("tools/call", {"name": "recall", "arguments": [1]}), ("tools/call", {"name": "recall", "arguments": "\x00"}),
        ("tools/list", {"cursor": "x"}), ("tools/list", [1]), ("initialize", {}), ("initialize", None),
    ],
)  # fmt: skip
def test_wrong_params_are_told_so(remembering: Gateway, method: str, params: Any) -> None:
    error_of(post(remembering, {**PING, "method": method, "params": params}), 200, -32602)


def test_a_batch_is_answered_one_by_one_in_the_versions_that_have_it(remembering: Gateway) -> None:
    notice = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    batch = [PING, notice, {**PING, "id": "b", "method": "dig"}, 7, {**PING, "id": 4, "method": "initialize"}]

    answers = post(remembering, batch, MCP_Protocol_Version="2025-03-26").json()

    assert [answer["id"] for answer in answers] == [1, "b", None, 4]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32601, -32600, -32600]
    assert post(remembering, [notice, notice]).status_code == 202
    error_of(post(remembering, [PING], MCP_Protocol_Version="2025-06-18"), 400, -32600)


def test_an_unknown_version_is_400_and_names_those_that_there_are(remembering: Gateway) -> None:
    told = error_of(post(remembering, PING, MCP_Protocol_Version="1999-01-01"), 400, -32022)

    assert "2025-11-25" in told["error"]["data"]["supported"]


def test_a_request_without_a_handshake_says_the_same_in_its_headers(remembering: Gateway) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {**PING, "method": "tools/list", "params": {"_meta": meta}}
    version = {"MCP_Protocol_Version": "2026-07-28"}

    assert post(remembering, body, **version, Mcp_Method="tools/list").json()["result"]["resultType"] == "complete"
    error_of(post(remembering, body, **version, Mcp_Method="tools/call"), 400, -32020)
    error_of(post(remembering, body), 400, -32020)
    error_of(post(remembering, PING, **version, Mcp_Method="ping"), 400, -32602)
    error_of(post(remembering, {**body, "method": "ping"}, **version, Mcp_Method="ping"), 404, -32601)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_nothing_to_follow_and_no_session_to_end(remembering: Gateway, method: str) -> None:
    answer = remembering.call(method, "/mcp", headers={"Accept": "text/event-stream"})

    assert_problem(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_whoever_takes_no_json_is_told_so(remembering: Gateway) -> None:
    assert_problem(post(remembering, PING, Accept="text/event-stream"), 406, "application/json")
    assert post(remembering, PING, Accept="*/*").status_code == 200
    assert post(remembering, PING, Accept="application/json").status_code == 200


def test_other_bodies_and_longer_ones_are_refused(remembering: Gateway) -> None:
    assert_problem(post(remembering, PING, Content_Type="text/plain"), 415, "application/json")
    assert_problem(post(remembering, PING, Content_Encoding="gzip"), 415)
    assert_problem(post(remembering, b" " * 1_048_577), 413)


def test_a_page_that_was_not_invited_is_refused(remembering: Gateway) -> None:
    port = remembering.port
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{port + 1}", "https://127.0.0.1", "nonsense"):
        assert_problem(post(remembering, PING, Origin=origin), 403, "GATEWAY_CORS_ORIGINS")
    rebound = f"evil.example:{port}"
    assert_problem(post(remembering, PING, Origin=f"http://{rebound}", Host=rebound), 403, "GATEWAY_CORS_ORIGINS")
    for origin in ("https://app.example", remembering.base):
        assert post(remembering, PING, Origin=origin).status_code == 200

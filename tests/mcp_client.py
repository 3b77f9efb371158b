"""The official MCP client for tests that wait for it: what it finds, in one connection."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import anyio
from mcp import Client

Found = TypeVar("Found")
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
"""How the client can be told to begin, and the version that it ends up with."""


def with_mcp(base: str, work: Callable[[Client], Awaitable[Found]], mode: str = "auto") -> Found:
    """What `work` finds with a client that is connected to this gateway."""

    async def connected() -> Found:
        async with Client(f"{base}/mcp", mode=mode, read_timeout_seconds=30) as client:
            return await work(client)

    # In a thread of its own: a browser that is driven from this one has a loop here already.
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(anyio.run, connected).result()


def call_mcp(base: str, tool: str, mode: str = "auto", **arguments: Any) -> Any:
    """The result of one call of a tool."""
    return with_mcp(base, partial(_call, tool=tool, arguments=arguments), mode)


async def _call(client: Client, tool: str, arguments: dict[str, Any]) -> Any:
    return await client.call_tool(tool, arguments)

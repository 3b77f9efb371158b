"""Our memory and conversations as an MCP server: streamable HTTP, each answer plain JSON, nothing kept in between."""

import json
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from app.adapters.http.websocket import own_origin
from app.domain.json_rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Call,
    RpcError,
    call_in,
    failure,
    id_of,
    success,
)
from app.domain.json_text import BadJson, read_json
from app.domain.mcp import MAX_BATCH, VERSIONS, Dialect, Headers, agreed_version, check_envelope, dialect_of
from app.gateway.api import Area, json_bytes
from app.gateway.mcp_tools import TOOLS, call_tool, described
from app.gateway.problems import BadRequest
from app.gateway.room import room

mcp = Area("mcp")
Method = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_CAPABILITIES = {"tools": {"listChanged": False}}
_INSTRUCTIONS = (
    "A memory that cannot be lost. Use `recall` before answering what may have been said before, `remember` for what is"
    " worth keeping, `forget` to take a memory back, `search_conversations` for the exact words of earlier talks."
)


@mcp.route(
    "POST",
    "/mcp",
    "The MCP server: a JSON-RPC message for our memory and conversations, answered in the form of JSON-RPC",
    accepts=("application/json",),
    answer="application/json",
    statuses=(200, 202),
    errors=(403, 406, 413, 415),
    headers={"MCP-Protocol-Version": f"The version of the protocol: {', '.join(VERSIONS)}"},
)
def post_mcp() -> Response:
    """Judge who asks, then the message; answer it."""
    _check_page()
    if request.accept_mimetypes and not request.accept_mimetypes["application/json"]:
        raise BadRequest(406, "the answer is JSON; take it with Accept: application/json, text/event-stream")
    message: object = None
    dialect = Dialect(VERSIONS[0])
    headers = Headers(*map(request.headers.get, ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name")))
    try:
        message = _read()
        dialect = dialect_of(headers, message)
        reply = _reply_to_all(message, dialect) if isinstance(message, list) else _reply(message, dialect, headers)
    except RpcError as error:
        return _json(failure(id_of(message), error), dialect.status(error.code))
    return _json(reply) if reply else Response(status=202)


def _check_page() -> None:
    """Refuse pages that were not invited. One that looks like ours by its name may come from elsewhere all the same:
    whoever owns a name can let it lead to this machine (DNS rebinding). An address cannot be lent like that.
    """
    origin, allowed = request.headers.get("Origin"), room().serving.settings.allowed_origins
    if origin is None or origin in allowed:
        return
    if not own_origin(origin, request.host) or not _is_address(urlsplit(origin).hostname or ""):
        raise BadRequest(403, "this page may not call here; list its origin in GATEWAY_CORS_ORIGINS")


def _is_address(host: str) -> bool:
    try:
        return host == "localhost" or bool(ip_address(host))
    except ValueError:
        return False


def _read() -> object:
    try:
        return read_json(json_bytes())
    except BadJson as error:
        raise RpcError(PARSE_ERROR, str(error)) from None


def _json(reply: object, status: int = 200) -> Response:
    return Response(json.dumps(reply), status, mimetype="application/json")


def _reply(message: object, dialect: Dialect, headers: Headers) -> dict[str, Any] | None:
    call = call_in(message)
    if call is None:
        return None
    if dialect.stateless:
        check_envelope(call, headers)
    return success(call, _result(call, dialect))


def _reply_to_all(messages: list[object], dialect: Dialect) -> list[dict[str, Any]]:
    if not dialect.takes_batches:
        raise RpcError(INVALID_REQUEST, f"version {dialect.version} has no batches; send one message at a time")
    if not 1 <= len(messages) <= MAX_BATCH:
        raise RpcError(INVALID_REQUEST, f"a batch holds 1 to {MAX_BATCH} messages")
    return [reply for message in messages if (reply := _reply_in_batch(message, dialect))]


def _reply_in_batch(message: object, dialect: Dialect) -> dict[str, Any] | None:
    try:
        call = call_in(message)
        if call and call.method == "initialize":
            raise RpcError(INVALID_REQUEST, "`initialize` must not be part of a batch")
        return success(call, _result(call, dialect)) if call else None
    except RpcError as error:
        return failure(id_of(message), error)


def _result(call: Call, dialect: Dialect) -> dict[str, Any]:
    methods = _STATELESS if dialect.stateless else _AFTER_A_HANDSHAKE
    method = methods.get(call.method)
    if method is None:
        raise RpcError(METHOD_NOT_FOUND, f"there is no such method; there is {', '.join(methods)}")
    return dialect.complete(method(call.params), _server(), listed=method is not call_tool)


def _server() -> dict[str, str]:
    return {"name": "somaagent01", "title": "SomaAgent01", "version": room().serving.settings.sa01_version}


def _initialize(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "protocolVersion": agreed_version(params),
        "capabilities": _CAPABILITIES,
        "serverInfo": _server(),
        "instructions": _INSTRUCTIONS,
    }


def _discover(_params: Mapping[str, Any]) -> dict[str, Any]:
    return {"supportedVersions": list(VERSIONS), "capabilities": _CAPABILITIES, "instructions": _INSTRUCTIONS}


def _ping(_params: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _list_tools(params: Mapping[str, Any]) -> dict[str, Any]:
    if params.get("cursor") is not None:
        raise RpcError(INVALID_PARAMS, "there is one page of tools; leave `cursor` out")
    return {"tools": [described(tool) for tool in TOOLS.values()]}


_TOOL_METHODS: Mapping[str, Method] = {"tools/list": _list_tools, "tools/call": call_tool}
_AFTER_A_HANDSHAKE: Mapping[str, Method] = {"initialize": _initialize, "ping": _ping, **_TOOL_METHODS}
_STATELESS: Mapping[str, Method] = {"server/discover": _discover, **_TOOL_METHODS}

"""JSON-RPC 2.0: messages told apart, and what is answered to them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import Rejected
from app.domain.json_text import BadJson, check_storable

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
MessageId = str | int


class RpcError(Rejected):
    """A message is wrong; `code` says in which way, `data` is for programs."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


@dataclass(frozen=True, slots=True)
class Call:
    """A request that awaits an answer under its `id`."""

    id: MessageId
    method: str
    params: Mapping[str, Any]


def call_in(message: object) -> Call | None:
    """The call that a message is; None for what awaits no answer: a notification, or an answer to us. `RpcError` for
    what is none of these.
    """
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'a message is one JSON object with "jsonrpc": "2.0"')
    if "method" not in message and ("result" in message) != ("error" in message):
        return None
    if not isinstance(message.get("method"), str):
        raise RpcError(INVALID_REQUEST, "`method` must be a text")
    if "id" not in message:
        return None
    found = id_of(message)
    if found is None:
        raise RpcError(INVALID_REQUEST, "`id` must be a text or a whole number")
    return Call(found, message["method"], _params(message))


def _params(message: Mapping[str, Any]) -> Mapping[str, Any]:
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "`params` must be an object")
    try:
        check_storable(params)
    except BadJson as error:
        raise RpcError(INVALID_PARAMS, str(error)) from None
    return params


def id_of(message: object) -> MessageId | None:
    """The id under which a message may be answered, however wrong the rest of it is."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def success(call: Call, result: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a call."""
    return {"jsonrpc": "2.0", "id": call.id, "result": dict(result)}


def failure(message_id: MessageId | None, error: RpcError) -> dict[str, Any]:
    """The answer to what is wrong; its id is null where that cannot be known."""
    told: dict[str, Any] = {"code": error.code, "message": str(error)}
    return {"jsonrpc": "2.0", "id": message_id, "error": told | ({} if error.data is None else {"data": error.data})}

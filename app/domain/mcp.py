"""The Model Context Protocol as our server speaks it: which versions there are, and in what they differ. Pure.

Up to 2025-11-25 a client shakes hands first (`initialize`) and names the version in a header from then on. 2026-07-28
has no handshake: every request carries version and capabilities itself, in `_meta`, and headers repeat what it is.
We keep nothing between two requests in either, so any process can answer any of them.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.json_rpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, Call, RpcError

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STATELESS_VERSION = "2026-07-28"
VERSIONS = (*HANDSHAKE_VERSIONS, STATELESS_VERSION)
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
MAX_BATCH = 50

_UNNAMED = "2025-03-26"
_WITH_BATCHES = frozenset({"2024-11-05", "2025-03-26"})
_META = "io.modelcontextprotocol/"
_NOT_A_MESSAGE = {PARSE_ERROR: 400, INVALID_REQUEST: 400, UNSUPPORTED_VERSION: 400}
_STATELESS_STATUS = {INVALID_PARAMS: 400, HEADER_MISMATCH: 400, METHOD_NOT_FOUND: 404}
_LIST_TTL_MS = 60_000


@dataclass(frozen=True, slots=True)
class Headers:
    """What a request's headers say of its message; None where one is missing."""

    version: str | None = None
    method: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one version speaks."""

    version: str

    @property
    def stateless(self) -> bool:
        """Whether every request stands for itself."""
        return self.version == STATELESS_VERSION

    @property
    def takes_batches(self) -> bool:
        """Whether several messages may come as one array."""
        return self.version in _WITH_BATCHES

    def status(self, code: int) -> int:
        """The HTTP status that goes with an error."""
        return (_NOT_A_MESSAGE | (_STATELESS_STATUS if self.stateless else {})).get(code, 200)

    def complete(self, result: Mapping[str, Any], server: Mapping[str, Any], listed: bool) -> dict[str, Any]:
        """The result with what this version adds to it; what is `listed` is the same for everybody for a while."""
        if not self.stateless:
            return dict(result)
        stamp = {"resultType": "complete", "_meta": {f"{_META}serverInfo": dict(server)}}
        return {**result, **stamp} | ({"ttlMs": _LIST_TTL_MS, "cacheScope": "private"} if listed else {})


def dialect_of(headers: Headers, message: object) -> Dialect:
    """The version in force for this message; `RpcError` names those that there are."""
    version = headers.version or _UNNAMED
    if version not in VERSIONS:
        raise _unsupported(version)
    if headers.version is None and f"{_META}protocolVersion" in _meta(message):
        return Dialect(STATELESS_VERSION)
    return Dialect(version)


def _meta(message: object) -> Mapping[str, Any]:
    params = message.get("params") if isinstance(message, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def _unsupported(version: str) -> RpcError:
    known = ", ".join(VERSIONS)
    return RpcError(
        UNSUPPORTED_VERSION,
        f"this server does not speak that version of the protocol; it speaks {known}",
        {"supported": list(VERSIONS), "requested": version},
    )


def check_envelope(call: Call, headers: Headers) -> None:
    """`RpcError` unless a stateless request carries what it must, and its headers say the same as its message."""
    meta = _meta({"params": call.params})
    missing = [name for name in ("protocolVersion", "clientCapabilities") if f"{_META}{name}" not in meta]
    if missing:
        raise RpcError(INVALID_PARAMS, f"`params._meta` must have {' and '.join(_META + name for name in missing)}")
    said = {
        "MCP-Protocol-Version": (headers.version, meta[f"{_META}protocolVersion"]),
        "Mcp-Method": (headers.method, call.method),
    }
    if call.method == "tools/call":
        said["Mcp-Name"] = (_decoded(headers.name), call.params.get("name"))
    for name, (outside, inside) in said.items():
        if outside != inside:
            raise RpcError(HEADER_MISMATCH, f"the header {name} must say the same as the message")


def _decoded(value: str | None) -> str | None:
    """A header's text, which comes in base64 where it could not travel as it is."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def agreed_version(params: Mapping[str, Any]) -> str:
    """The version that a handshake ends with: the one asked for, or the newest that has a handshake."""
    asked = params.get("protocolVersion")
    if not isinstance(asked, str):
        raise RpcError(INVALID_PARAMS, "`protocolVersion` must be a text")
    for name in ("capabilities", "clientInfo"):
        if not isinstance(params.get(name), dict):
            raise RpcError(INVALID_PARAMS, f"`{name}` must be an object")
    return asked if asked in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]

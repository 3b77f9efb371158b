"""What goes through to the gateway: which headers travel, and the gateway's answer as ours.

The browser speaks to one origin only, ours; its cookies and keys are the gateway's business and pass untouched. What
belongs to a single connection does not travel, and neither does what the browser says about origins: that was checked
here.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from flask import Request, Response, g

from webui.gateway import Answer, Call

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip
_STAYS_HERE = _HOP_BY_HOP | frozenset(("host", "origin", "referer", "content-length", "expect", "x-request-id"))
_PIECE = 65_536


def call_for(request: Request, path: str, body: Any = None) -> Call:
    """The caller's request, addressed to the gateway's `path` with the same query."""
    query = request.query_string.decode("latin-1")
    target = quote(path, safe="/:@!$&'()*+,;=-._~") + (f"?{query}" if query else "")
    return Call(request.method, target, _request_headers(request), body if body is not None else _body(request))


def stream_call(request: Request, session_id: str, after: str) -> Call:
    """The call that opens a session's stream behind the cursor `after`; empty means its beginning."""
    path = f"/v1/session/{quote(session_id, safe='')}/events"
    headers = _request_headers(request) | {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    headers.pop("Last-Event-ID", None)
    return Call("GET", path + (f"?after={quote(after, safe='')}" if after else ""), headers)


def _request_headers(request: Request) -> dict[str, str]:
    dropped = _STAYS_HERE | _named_in_connection(request.headers.get("Connection", ""))
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in dropped and not name.lower().startswith(("sec-websocket", "x-forwarded"))
    }
    headers["X-Request-ID"] = g.request_id
    headers["X-Forwarded-For"] = request.remote_addr or ""
    headers["X-Forwarded-Host"] = request.host
    headers["X-Forwarded-Proto"] = request.scheme
    return headers


def _named_in_connection(value: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in value.split(","))


class _Body:
    """A request's body of known length: read on demand, never held as a whole."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream
        self._length = request.content_length or 0

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        return bytes(self._stream.read(size))


def _body(request: Request) -> Any:
    if request.content_length:
        return _Body(request)
    if request.environ.get("wsgi.input_terminated") and "chunked" in request.headers.get("Transfer-Encoding", ""):
        return iter(lambda: request.stream.read(_PIECE), b"")
    return None


def answer_as_ours(upstream: Answer, pieces: Iterator[bytes]) -> Response:
    """The gateway's answer, streamed on; closing ours closes it."""
    answer = Response(pieces, upstream.status)
    answer.headers.clear()
    for name, value in upstream.headers:
        if name.lower() not in _HOP_BY_HOP and name.lower() not in ("date", "server"):
            answer.headers.add(name, value)
    answer.call_on_close(upstream.close)
    return answer

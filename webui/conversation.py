"""The page's own routes: send a message, follow a session."""

import re
import uuid
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request
from flask_sock import Sock

from app.adapters.http.open_streams import STOPPING, bound_sending, client_left, client_socket
from app.adapters.http.websocket import SafeSocket
from app.domain.errors import Rejected, Retryable
from webui.gateway import Answer, GatewayAway
from webui.local import LocalMessage, Upstream
from webui.parts import Parts
from webui.passing import answer_as_ours, call_for, stream_call
from webui.problems import problem
from webui.relay import to_sse, to_websocket

_SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ACCEPT_SECONDS = 6.0
_MESSAGE_PATH = "/v1/session/message"

pages = Blueprint("conversation", __name__)
sockets = Sock()


def _parts() -> Parts:
    parts: Parts = current_app.extensions["webui"]
    return parts


@pages.post("/message")
def send_message() -> Response:
    """Hand a message to the gateway; where it does not answer, to this process, under the same key."""
    key = request.headers.get("Idempotency-Key") or str(uuid.uuid4())
    body = request.get_data()
    if _parts().use_gateway:
        try:
            return _through_gateway(key, body)
        except GatewayAway:
            if _parts().local is None:
                raise
    return _accepted_here(LocalMessage(body, key, dict(request.headers)))


def _through_gateway(key: str, body: bytes) -> Response:
    call = call_for(request, _MESSAGE_PATH, body)
    upstream = _parts().gateway.send(call.with_header("Idempotency-Key", key), _ACCEPT_SECONDS)
    return answer_as_ours(upstream, iter([b"".join(upstream.pieces())]))


def _accepted_here(message: LocalMessage) -> Response:
    local = _parts().local
    if local is None:
        raise GatewayAway
    if request.mimetype != "application/json":
        return problem(415, "send JSON with Content-Type: application/json")
    return jsonify(dict(local.accept(message)))


@pages.get("/gateway_stream")
def follow_by_sse() -> Response:
    """The session's stream as server-sent events."""
    session_id = request.args.get("session_id", "")
    if not _SESSION_ID.fullmatch(session_id):
        raise Rejected("name the session: /gateway_stream?session_id=<id>")
    slot = _parts().slots.take()
    try:
        upstream = _open_stream(session_id, request.headers.get("Last-Event-ID") or request.args.get("after", ""))
    except Retryable:
        slot.release()
        raise
    answer = _stream_answer(upstream)
    answer.call_on_close(upstream.close)
    answer.call_on_close(slot.release)
    return answer


def _stream_answer(upstream: Upstream) -> Response:
    if isinstance(upstream, Answer) and upstream.status != 200:
        return answer_as_ours(upstream, upstream.pieces())
    if upstream.status != 200:
        return problem(upstream.status, "there is no such session")
    answer = Response(to_sse(upstream, browser_left(), _parts().watch), content_type="text/event-stream; charset=utf-8")
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def browser_left() -> Any:
    """Whether the browser behind the current request has hung up, as a question that can be asked from any thread."""
    sock = client_socket(request.environ)
    if sock is None:
        return STOPPING.is_set
    bound_sending(sock)
    return lambda: client_left(sock)


def _open_stream(session_id: str, after: str) -> Upstream:
    parts = _parts()
    if parts.use_gateway:
        return parts.gateway.follow(stream_call(request, session_id, after))
    if parts.local is None:
        raise GatewayAway
    return parts.local.follow(session_id, after)


def follow_by_websocket(raw: Any, session_id: str) -> None:
    """The session's stream on a websocket."""
    with SafeSocket(raw) as ws:
        if not _SESSION_ID.fullmatch(session_id):
            ws.close(4404, "there is no such session")
            return
        try:
            upstream = _open_stream(session_id, request.args.get("after", ""))
        except Retryable:
            ws.close(1012, "the gateway does not answer; come again with your cursor")
            return
        to_websocket(upstream, ws, _parts().watch)


sockets.route("/ws/session/<session_id>")(follow_by_websocket)


def take_stream_slot() -> None:
    """For a request that asks to become a websocket: a slot now, while 503 can still be said."""
    g.slot = _parts().slots.take()


def give_slot_back(_error: BaseException | None) -> None:
    """The end of every request; a websocket's comes when it is over."""
    if "slot" in g:
        g.slot.release()
